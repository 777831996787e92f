package engine

import "github.com/expedite-go/expedite/ws"

// Subscribe adds c to a topic of this engine. It reports whether c was not in it before. It fails with ErrClosed,
// ErrMoved or ErrTooManySubscriptions. Any goroutine.
func (c *Conn) Subscribe(topic string) (bool, error) {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	// Teardown first closes c and then drops its subscriptions under topicsMu: what is added here is dropped there.
	switch c.phase.Load() {
	case phaseOpen:
	case phaseAway:
		return false, ErrMoved
	default:
		return false, ErrClosed
	}
	if e.topics.Count(c.key.Index) >= e.cfg.MaxSubscriptions {
		e.count.limit(limitSubscriptions)
		return false, ErrTooManySubscriptions
	}
	return e.topics.Subscribe(topic, c.key.Index), nil
}

// Unsubscribe takes c out of a topic and reports whether it was in it. Any goroutine.
func (c *Conn) Unsubscribe(topic string) bool {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	if ph := c.phase.Load(); ph != phaseOpen && ph != phaseClosing {
		return false
	}
	return e.topics.Unsubscribe(topic, c.key.Index)
}

// Publish sends a message to the subscribers of a topic on this engine: it is encoded once, and leaves in one write per
// connection together with whatever else the turn brings. seq is its number among all publications, which must grow. It
// returns the number of subscribers. On the loop (see Post).
func (e *Engine) Publish(seq uint64, topic string, op ws.Opcode, payload []byte) int {
	e.position = max(e.position, seq)
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	members := e.topics.Members(topic)
	if len(members) == 0 && !e.recording {
		return 0
	}
	frame := ws.AppendFrame(make([]byte, 0, ws.FrameLen(len(payload))), op, payload)
	pub := e.newPublication(frame)
	if e.recording {
		e.remember(published{seq: seq, topic: topic, op: op, frame: frame, pub: pub})
	}
	for _, i := range members {
		if len(e.ahead) > 0 && e.ahead[i] >= seq {
			continue
		}
		if c := e.conns[i]; c != nil {
			e.hear(c, op, frame, pub)
		}
	}
	if len(e.ahead) > 0 && seq >= e.farthest {
		clear(e.ahead)
	}
	return len(members)
}

// Reached says that there are no publications up to seq which this worker has not had. On the loop.
func (e *Engine) Reached(seq uint64) { e.position = max(e.position, seq) }

// Subscriptions is the number of subscriptions on this engine.
func (e *Engine) Subscriptions() int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return e.topics.NumSubscriptions()
}

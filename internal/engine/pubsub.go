package engine

import "github.com/expedite-go/expedite/ws"

// Subscribe adds c to a topic of this engine. It reports whether c was not in it before. It fails with ErrClosed or
// ErrTooManySubscriptions. Any goroutine.
func (c *Conn) Subscribe(topic string) (bool, error) {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	// Teardown first closes c and then drops its subscriptions under topicsMu: what is added here is dropped there.
	if ph := c.phase.Load(); ph != phaseOpen {
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
// connection together with whatever else the turn brings. It returns their number. On the loop (see Post).
func (e *Engine) Publish(topic string, op ws.Opcode, payload []byte) int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	members := e.topics.Members(topic)
	if len(members) == 0 {
		return 0
	}
	frame := ws.AppendFrame(make([]byte, 0, ws.FrameLen(len(payload))), op, payload)
	for _, i := range members {
		if c := e.conns[i]; c != nil {
			c.SendFrame(op, frame)
		}
	}
	return len(members)
}

// Subscriptions is the number of subscriptions on this engine.
func (e *Engine) Subscriptions() int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return e.topics.NumSubscriptions()
}

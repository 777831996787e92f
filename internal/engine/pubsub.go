package engine

import (
	"iter"
	"maps"
	"slices"

	"github.com/expedite-go/expedite/ws"
)

// Subscribe adds c to a topic of this engine. It reports whether c is a new member. It returns ErrClosed, ErrMoved or
// ErrTooManySubscriptions. It is safe for concurrent use.
func (c *Conn) Subscribe(topic string) (bool, error) {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	// teardown first closes c and then drops its subscriptions under topicsMu, so it drops what is added here.
	switch c.phase.Load() {
	case phaseOpen:
	case phaseAway:
		return false, ErrMoved
	default:
		return false, ErrClosed
	}
	if e.recovering(c, topic) != nil {
		return false, nil
	}
	if e.topics.Count(c.key.Index)+e.numRecoveries(c) >= e.cfg.MaxSubscriptions {
		e.count.limit(limitSubscriptions)
		return false, ErrTooManySubscriptions
	}
	added := e.topics.Subscribe(topic, c.key.Index)
	if added && e.cfg.Subscribed != nil {
		e.cfg.Subscribed(c, topic, true)
	}
	if added {
		e.locate(c, topic)
	}
	return added, nil
}

// Members returns the number of connections of a topic on this engine.
func (e *Engine) Members(topic string) int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return len(e.topics.Members(topic))
}

// EachMember calls f with the ids of the connections of a topic on this engine until it returns false, and returns how
// many there are. f must not call the engine. On the loop.
func (e *Engine) EachMember(topic string, f func(id uint64) bool) int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	members := e.topics.Members(topic)
	for _, i := range members {
		if c := e.conns[i]; c != nil && !f(c.id) {
			break
		}
	}
	return len(members)
}

// Join is Subscribe to the topic of a user that has at most limit connections; 0 means no limit. It reports false, and
// subscribes to nothing, if there are as many already.
func (c *Conn) Join(topic string, limit int) bool {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	if limit > 0 && len(e.topics.Members(topic)) >= limit {
		return false
	}
	if c.phase.Load() == phaseOpen {
		e.topics.Subscribe(topic, c.key.Index)
	}
	return true
}

// CountPerUser counts a connection that was refused or closed because its user has as many as allowed.
func (e *Engine) CountPerUser() { e.count.limit(limitPerUser) }

// CountRefused counts a refusal outside of a handshake by its HTTP status.
func (e *Engine) CountRefused(status int) { e.count.refused(status) }

// Unsubscribe removes c from a topic and reports whether it was a member. It is safe for concurrent use.
func (c *Conn) Unsubscribe(topic string) bool {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	if ph := c.phase.Load(); ph != phaseOpen && ph != phaseClosing {
		return false
	}
	if r := e.recovering(c, topic); r != nil {
		e.withdraw(r)
		if r.done != nil {
			r.done <- outcome{err: ErrUnsubscribed}
		}
		return true
	}
	removed := e.topics.Unsubscribe(topic, c.key.Index)
	if removed && e.cfg.Subscribed != nil {
		e.cfg.Subscribed(c, topic, false)
	}
	return removed
}

// unsubscribeAll removes c, which ends, from all topics.
func (e *Engine) unsubscribeAll(c *Conn) {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	if e.cfg.Subscribed != nil {
		for topic := range e.topics.Topics(c.key.Index) {
			e.cfg.Subscribed(c, topic, false)
		}
	}
	e.topics.Drop(c.key.Index)
	e.withdrawAll(c, ErrClosed)
	delete(e.ahead, c.key.Index)
}

// tellSubscribed calls Config.Subscribed for a connection that has arrived or was taken over.
func (e *Engine) tellSubscribed(c *Conn, topics []string, subscribed bool) {
	if e.cfg.Subscribed == nil || len(topics) == 0 {
		return
	}
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	for _, topic := range topics {
		e.cfg.Subscribed(c, topic, subscribed)
	}
}

// Topics returns the topics of c, in no particular order; none if it is not here. It is safe for concurrent use.
func (c *Conn) Topics() []string {
	e := c.eng
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	if ph := c.phase.Load(); ph != phaseOpen && ph != phaseClosing {
		return nil
	}
	return slices.Collect(e.topics.Topics(c.key.Index))
}

// Publish sends a message to the subscribers of a topic on this engine. It encodes the message once, compresses it once
// for each window size, and each connection gets it in one write together with its other output of the turn. seq is the
// number of the publication; numbers must increase. Publish returns the number of subscribers. On the loop (see Post).
func (e *Engine) Publish(seq uint64, topic string, op ws.Opcode, payload []byte) int {
	return e.PublishExcept(seq, topic, op, payload, 0)
}

// PublishExcept is Publish to all subscribers but the connection with the id except. 0 is none. On the loop.
func (e *Engine) PublishExcept(seq uint64, topic string, op ws.Opcode, payload []byte, except uint64) int {
	return e.publish(seq, Mark{Topic: topic}, Kept{Op: op, Payload: payload, Except: except})
}

func (e *Engine) publish(seq uint64, at Mark, kept Kept) int {
	topic := at.Topic
	e.position = max(e.position, seq)
	var skip *Conn
	if kept.Except != 0 {
		skip = e.Lookup(kept.Except)
	}
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	members := e.topics.Members(topic)
	if len(members) == 0 && !e.recording {
		return 0
	}
	encoded := e.newBroadcast(kept.Op, kept.Payload)
	m := &encoded
	if e.recording {
		m = e.remember(published{seq: seq, topic: topic, except: kept.Except, broadcast: encoded})
	}
	for _, i := range members {
		if len(e.ahead) > 0 && e.ahead[i] >= seq {
			continue
		}
		if c := e.conns[i]; c != nil && c != skip {
			e.sendPublication(c, topic, m)
		}
	}
	if len(e.ahead) > 0 && seq >= e.farthest {
		clear(e.ahead)
	}
	if at.Epoch != 0 && len(members) > 0 {
		e.marks.published(at, m.leastSize())
	}
	return len(members)
}

// EachTopic calls f with all topics that have subscribers on this engine, or will have after a recovery. f must not
// call the engine. It is safe for concurrent use.
func (e *Engine) EachTopic(f func(topics iter.Seq[string])) {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	f(e.topics.Names())
	if e.recoveries != nil {
		f(maps.Keys(e.recoveries.topics))
	}
}

// Reached records that this worker has had all publications up to seq. On the loop.
func (e *Engine) Reached(seq uint64) { e.position = max(e.position, seq) }

// Subscriptions returns the number of subscriptions on this engine.
func (e *Engine) Subscriptions() int {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return e.topics.NumSubscriptions()
}

package engine

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/expedite-go/expedite/ws"
)

// gapReason is the close reason for a client that has missed messages and whose handler has no Gap.
const gapReason = "messages were missed"

// gapOverhead is the assumed overhead of a queued publication in bytes: see behindGap.
const gapOverhead = 64

// Gap is a number of publications that have not reached this engine.
type Gap struct {
	Topic     string // empty if it is not known
	Missed    uint64 // how many; 0 if that is not known
	Tolerated bool   // connections whose Route has no Gaps stay
	Kept      bool   // topics that keep publications may have them
}

// Gap informs the subscribers of the topic of a gap, or all connections with subscriptions if the topic is not known.
// seq is the number of the last publication. Connections whose Route has no Gaps are closed with 1013 unless the gap is
// tolerated. What a topic has kept is not missed: its subscribers get it. On the loop.
func (e *Engine) Gap(seq uint64, g Gap) {
	before := e.position
	e.position = max(e.position, seq)
	var told []*Conn
	tell := func(i uint32) {
		if c := e.conns[i]; c != nil && e.ahead[i] < seq {
			told = append(told, c)
		}
	}
	e.topicsMu.Lock()
	if e.recording {
		e.remember(published{seq: seq, topic: g.Topic, gap: &g})
	}
	if g.Topic != "" {
		for _, i := range e.topics.Members(g.Topic) {
			tell(i)
		}
	} else {
		for i := range e.conns {
			if e.topics.Count(uint32(i)) > 0 {
				tell(uint32(i))
			}
		}
	}
	e.topicsMu.Unlock()
	for _, c := range told { // without the lock, because callbacks may subscribe
		if !g.Kept || !e.repair(c, g.Topic, before) {
			e.tellGap(c, g)
		}
	}
}

// tellGap queues the Gap callback of c, or closes c. On the loop.
func (e *Engine) tellGap(c *Conn, g Gap) {
	if c.phase.Load() != phaseOpen {
		return
	}
	e.count.limit(limitGap)
	if !c.route.Gaps {
		if g.Tolerated {
			return
		}
		c.beginClose(ending{code: ws.CloseTryAgainLater, reason: gapReason}, gapReason)
		return
	}
	e.holdBack(c)
	c.dispatch(event{kind: eventGap, data: append(binary.AppendUvarint(nil, g.Missed), g.Topic...)})
}

// holdBack makes publications wait behind the callbacks of c, so that Gap is called before anything published after the
// gap is sent.
func (e *Engine) holdBack(c *Conn) {
	if c.route.Inline {
		return
	}
	if e.gapped == nil {
		e.gapped = make(map[*Conn]struct{})
	}
	e.gapped[c] = struct{}{}
}

// holdsBack reports whether publications may wait behind the callbacks of c. On the loop.
func (e *Engine) holdsBack(c *Conn) bool {
	if _, held := e.gapped[c]; !held {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.box != nil
}

// sendPublication sends a publication on a topic to c. On the loop.
func (e *Engine) sendPublication(c *Conn, topic string, m *broadcast) {
	if len(e.gapped) > 0 {
		if _, held := e.gapped[c]; held && e.behindGap(c, topic, m) {
			return
		}
	}
	c.sendBroadcast(m)
}

// behindGap queues a publication behind the callbacks of c. It reports false if there are none or c is ending.
// QueueLimit bounds these publications too: beyond it the policy of the route applies, and drops the newest.
func (e *Engine) behindGap(c *Conn, topic string, m *broadcast) bool {
	op, frame := m.op, m.plain.frame
	if c.agreed == 0 { // releases without compression do not know Plain
		op &^= Plain
	}
	c.mu.Lock()
	if c.box == nil || c.phase.Load() != phaseOpen {
		c.mu.Unlock()
		delete(e.gapped, c)
		return false
	}
	waiting := len(c.box.waiting.arena) + gapOverhead*len(c.box.waiting.events) + len(frame)
	c.mu.Unlock()
	switch {
	case waiting <= c.route.QueueLimit:
		c.post(event{kind: eventFrame, op: op, data: frame, held: &heldTopic{topic: topic}})
	case c.route.Policy == PolicyClose:
		e.count.limit(limitQueueClose)
		c.beginClose(ending{code: ws.CloseTryAgainLater, reason: "too slow: Gap does not return"}, "too slow")
	default:
		e.count.limit(limitDropNewest)
	}
	return true
}

// gap calls Gap.
func (c *Conn) gap(data []byte) {
	missed, n := binary.Uvarint(data)
	if n <= 0 || !c.route.Gaps { // it comes from a build whose handler had a Gap
		_ = c.Close(ws.CloseTryAgainLater, gapReason)
		return
	}
	c.route.Handler.Gap(c, string(data[n:]), missed)
}

// sendHeld sends a copy of a publication that waited behind a Gap, unless the subscription has ended. The bytes of the
// frame belong to the mailbox.
func (c *Conn) sendHeld(ev event) {
	if ev.held != nil && ev.held.over.Load() {
		return
	}
	h, n, err := ws.ParseHeader(ev.data)
	if err == nil && n > 0 && h.Length == uint64(len(ev.data)-n) {
		c.Send(ev.op, ev.data[n:])
	}
}

// heldTopic is the topic of publications that wait behind a Gap of a connection.
type heldTopic struct {
	topic string
	over  atomic.Bool // the subscription has ended: they are not sent
}

// hold returns the topic of a publication that begins to wait. Conn.mu must be held.
func (m *mailbox) hold(topic string) *heldTopic {
	h := m.topics[topic]
	if h == nil {
		if m.topics == nil {
			m.topics = make(map[string]*heldTopic)
		}
		h = &heldTopic{topic: topic}
		m.topics[topic] = h
	}
	return h
}

// dropHeld drops what waits of a topic, because a recovery of c begins there: it brings what is later than its place.
func (c *Conn) dropHeld(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == nil {
		return
	}
	if h := c.box.topics[topic]; h != nil {
		h.over.Store(true)
		delete(c.box.topics, topic) // for those that follow
	}
}

// holdsBack reports whether the events include a gap or a publication that waits behind one.
func (b *batch) holdsBack() bool {
	for _, l := range b.events {
		if l.kind == eventGap || l.kind == eventFrame {
			return true
		}
	}
	return false
}

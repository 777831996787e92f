package broker

import (
	"encoding/binary"
	"sync"
)

// Hub is the primary's side: it numbers publications and passes everything on.
type Hub struct {
	route func(conn uint64) int

	mu    sync.Mutex
	links map[int]*attachment
	seq   uint64
	stats HubStats
}

// HubStats is what a Hub has done. Counters only grow.
type HubStats struct {
	Published uint64
	Directed  uint64
	Flooded   uint64 // directed messages that were passed to all workers, because the first did not have the connection
	Malformed uint64
	// Dropped counts, by slot, the messages that a worker missed because its queue was full.
	Dropped map[int]uint64
}

// NewHub makes a Hub. route says in which slot a connection began.
func NewHub(route func(conn uint64) int) *Hub {
	return &Hub{route: route, links: make(map[int]*attachment), stats: HubStats{Dropped: make(map[int]uint64)}}
}

// attachment tells one worker's link from the next one's in the same slot.
type attachment struct{ Link }

// Attach passes messages to a slot's worker from now on, instead of to the one before. detach ends that; it does nothing
// when another worker has taken the slot.
func (h *Hub) Attach(slot int, l Link) (detach func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := &attachment{l}
	h.links[slot] = at
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.links[slot] == at {
			delete(h.links, slot)
		}
	}
}

// Stats returns a snapshot.
func (h *Hub) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Dropped = make(map[int]uint64, len(h.stats.Dropped))
	for slot, n := range h.stats.Dropped {
		s.Dropped[slot] = n
	}
	return s
}

// Publish sends a message from the primary itself, as Local.Publish does.
func (h *Hub) Publish(topic string, opcode byte, payload []byte) error {
	return h.send(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload})
}

// SendTo sends a message from the primary itself, as Local.SendTo does.
func (h *Hub) SendTo(conn uint64, opcode byte, payload []byte) error {
	return h.send(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes a connection from the primary itself, as Local.CloseConn does.
func (h *Hub) CloseConn(conn uint64, code uint16, reason string) error {
	return h.send(Envelope{Kind: Close, Conn: conn, Code: code, Payload: []byte(reason)})
}

// nobody is the slot of messages that come from the primary itself.
const nobody = -1

func (h *Hub) send(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
	h.Receive(nobody, AppendEnvelope(nil, e))
	return nil
}

// Receive passes on a message from the worker in a slot: one or more envelopes. It writes their numbers into m.
func (h *Hub) Receive(slot int, m []byte) {
	h.mu.Lock() // held while messages are put into queues, so that their order is that of their numbers everywhere
	defer h.mu.Unlock()
	for len(m) > 0 {
		e, n, err := ParseEnvelope(m)
		if err != nil {
			h.stats.Malformed++
			return
		}
		h.pass(slot, &e, m[:n:n])
		m = m[n:]
	}
}

// pass sends the envelope e, whose form is b, where it belongs.
func (h *Hub) pass(from int, e *Envelope, b []byte) {
	switch {
	case e.Kind == Publish:
		h.seq++
		h.stats.Published++
		binary.LittleEndian.PutUint64(b[seqAt:], h.seq)
		for slot, l := range h.links {
			h.put(slot, l, b)
		}
	case e.flags&flagBounced != 0:
		h.flood(from, b)
	default:
		h.stats.Directed++
		slot := h.route(e.Conn)
		if l, ok := h.links[slot]; ok {
			h.put(slot, l, b)
			return
		}
		h.flood(slot, b)
	}
}

// flood passes a directed message to all slots but one.
func (h *Hub) flood(but int, b []byte) {
	h.stats.Flooded++
	b[flagsAt] = flagFlood
	for slot, l := range h.links {
		if slot != but {
			h.put(slot, l, b)
		}
	}
}

func (h *Hub) put(slot int, l Link, b []byte) {
	if err := l.Send(b); err != nil {
		h.stats.Dropped[slot]++
	}
}

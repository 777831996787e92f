package broker

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

// Hub is the primary's side: it numbers publications and passes everything on. Any goroutine.
type Hub struct {
	route func(conn uint64) int

	mu    sync.Mutex   // held while messages are queued: so their order is that of their numbers everywhere
	links []attachment // by slot
	marks uint64       // the latest mark
	count counts
}

// attachment is the link to the worker in a slot. mark tells it from all others that there are, were or will be.
type attachment struct {
	slot int
	mark uint64
	link Link
	done *slotCounts
}

// NewHub makes a Hub without workers. route says in which slot a connection began; it is called with the Hub's lock
// held. A slot that has no worker is no error.
func NewHub(route func(conn uint64) int) *Hub {
	return &Hub{route: route, count: counts{slots: make(map[int]*slotCounts)}}
}

// Attach passes messages to a slot's worker from now on, instead of to the one before. detach ends that; it does
// nothing when another worker has taken the slot.
func (h *Hub) Attach(slot int, l Link) (detach func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks++
	at := attachment{slot: slot, mark: h.marks, link: l, done: h.count.slot(slot)}
	if k, ok := h.find(slot); ok {
		h.links[k] = at
	} else {
		h.links = slices.Insert(h.links, k, at)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if k, ok := h.find(slot); ok && h.links[k].mark == at.mark {
			h.links = slices.Delete(h.links, k, k+1)
		}
	}
}

// Stats returns a snapshot.
func (h *Hub) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count.snapshot()
}

// Publish sends a message from the primary itself, as Local.Publish does. It fails with ErrTopic or ErrPayload; that a
// worker misses it is counted.
func (h *Hub) Publish(topic string, opcode byte, payload []byte) error {
	return h.send(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload})
}

// SendTo sends a message from the primary itself, as Local.SendTo does. It fails with ErrPayload.
func (h *Hub) SendTo(conn uint64, opcode byte, payload []byte) error {
	return h.send(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes a connection from the primary itself, as Local.CloseConn does. It fails with ErrPayload.
func (h *Hub) CloseConn(conn uint64, code uint16, reason string) error {
	return h.send(Envelope{Kind: Close, Conn: conn, Code: code, Payload: []byte(reason)})
}

// own is the slot of messages that come from the primary itself.
const own = -1

func (h *Hub) send(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
	h.pass(own, AppendEnvelope(nil, e))
	return nil
}

// Receive passes on a message from the worker in a slot: one or more envelopes. It writes their numbers into m. What is
// no envelope is counted and left out. Messages of one worker must come in order; those of several may come at once,
// and envelopes of one may find those of another between them.
func (h *Hub) Receive(slot int, m []byte) {
	for len(m) > 0 {
		m = m[h.pass(slot, m):]
	}
}

// pass sends the first envelope of m where it belongs and returns its length, or that of m if it does not make sense.
func (h *Hub) pass(from int, m []byte) int {
	e, _, n, err := parse(m) // outside of the lock, which is there for all workers
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || e.flags&flagFlood != 0 {
		h.count.slot(from).malformed++
		return cmp.Or(n, len(m))
	}
	b := m[:n:n]
	switch {
	case e.Kind == Publish:
		h.count.published++
		binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
		for _, at := range h.links {
			h.put(at, b)
		}
	case e.flags&flagBounced != 0:
		h.count.bounced++
		h.flood(e.Seq, b)
	default:
		h.count.directed++
		if k, ok := h.find(h.route(e.Conn)); ok {
			binary.LittleEndian.PutUint64(b[seqAt:], h.links[k].mark)
			h.put(h.links[k], b)
		} else {
			h.flood(0, b)
		}
	}
	return n
}

// flood passes a directed message to all workers but the one that has said no. That is told by its mark, not by its
// slot: the connection may have moved to the next worker of the same slot.
func (h *Hub) flood(but uint64, b []byte) {
	h.count.flooded++
	b[flagsAt] = flagFlood
	binary.LittleEndian.PutUint64(b[seqAt:], 0)
	asked := 0
	for _, at := range h.links {
		if at.mark != but {
			h.put(at, b)
			asked++
		}
	}
	if asked == 0 {
		h.count.unroutable++
	}
}

// put queues an envelope for one worker.
func (h *Hub) put(at attachment, b []byte) {
	if err := at.link.Send(b); err != nil {
		at.done.dropped++
		return
	}
	at.done.delivered++
}

// find is the place of a slot's worker in links, or where it would be.
func (h *Hub) find(slot int) (int, bool) {
	return slices.BinarySearchFunc(h.links, slot, func(at attachment, slot int) int {
		return cmp.Compare(at.slot, slot)
	})
}

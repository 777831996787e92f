package broker

import (
	"cmp"
	"encoding/binary"
	"sync"
)

// Hub is the primary's side: it numbers publications and passes everything on. Any goroutine.
type Hub struct {
	route func(conn uint64) int
	own   Port // of messages that come from the primary itself

	mu      sync.Mutex       // held while messages are queued: so their order is that of their numbers everywhere
	ports   []*Port          // the latest last
	slots   map[int]*slot    // all that there have been, for their counters
	away    map[uint64]int   // slots of connections that do not live in the one where they began
	waiting map[uint64]*slot // of a connection for which messages are held: where they are
	marks   uint64           // the latest mark
	count   counts
}

// NewHub makes a Hub without workers. route says in which slot a connection began; it is called with the Hub's lock
// held. A slot that has no worker is no error.
func NewHub(route func(conn uint64) int) *Hub {
	h := &Hub{
		route: route, slots: make(map[int]*slot),
		away: make(map[uint64]int), waiting: make(map[uint64]*slot),
	}
	h.own = Port{hub: h, slot: new(slot), gone: true}
	return h
}

// Publish sends a message from the primary itself, as Local.Publish does. It fails with ErrTopic or ErrPayload; that a
// worker misses it is counted, and told to that worker.
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

func (h *Hub) send(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
	h.pass(&h.own, AppendEnvelope(nil, e))
	return nil
}

// pass sends the first envelope of m where it belongs and returns its length, or that of m if it does not make sense.
func (h *Hub) pass(from *Port, m []byte) int {
	e, topic, n, err := parse(m) // outside of the lock, which is there for all workers
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || e.flags&flagFlood != 0 {
		from.slot.malformed++
		return cmp.Or(n, len(m))
	}
	b := m[:n:n]
	switch e.Kind {
	case Publish:
		h.count.published++
		binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
		for _, p := range h.ports {
			if !p.put(b) {
				p.owed.gap.add(string(topic), h.count.published)
			}
		}
	case Send, Close:
		if e.flags&flagBounced != 0 {
			h.count.bounced++
			h.flood(e.Seq, b)
			break
		}
		h.count.directed++
		h.direct(e.Conn, b)
	case Here:
		h.here(from, e.Conn)
	case Gone:
		h.left(from, e.Conn)
	case Fence:
		if !from.gone {
			binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
			from.put(b)
		}
	default: // only the Hub says Position and Gap
		from.slot.malformed++
	}
	return n
}

// direct passes on a directed message: to the leader of its slot, or it is held.
func (h *Hub) direct(conn uint64, b []byte) {
	s := h.home(conn)
	switch {
	case s == nil:
		h.flood(0, b)
	case s.hold:
		h.keep(s, conn, b)
	case s.leader == nil:
		h.flood(0, b)
	default:
		binary.LittleEndian.PutUint64(b[seqAt:], s.leader.mark)
		s.leader.put(b)
	}
}

// home is the slot that is asked first for a connection; nil if it never had a worker. Where messages for it are held,
// the next ones go, too, or they would overtake.
func (h *Hub) home(conn uint64) *slot {
	if s, ok := h.waiting[conn]; ok {
		return s
	}
	if number, ok := h.away[conn]; ok {
		return h.slots[number]
	}
	return h.slots[h.route(conn)]
}

// flood passes a directed message to all workers but the one that has said no. That is told by its mark, not by its
// slot: the connection may have moved to the next worker of the same slot.
func (h *Hub) flood(but uint64, b []byte) {
	h.count.flooded++
	b[flagsAt] = flagFlood
	binary.LittleEndian.PutUint64(b[seqAt:], 0)
	asked := 0
	for _, p := range h.ports {
		if p.mark != but {
			p.put(b)
			asked++
		}
	}
	if asked == 0 {
		h.count.unroutable++
	}
}

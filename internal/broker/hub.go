package broker

import (
	"cmp"
	"encoding/binary"
	"sync"
)

// Hub is the primary's side: it numbers publications and passes everything on. It is safe for concurrent use.
type Hub struct {
	route func(conn uint64) int
	own   Port // for messages that the primary sends itself

	mu      sync.Mutex       // held while messages are queued, so that they are in the order of their numbers everywhere
	ports   []*Port          // in the order of Attach
	slots   map[int]*slot    // all that have ever had a port, for their counters
	away    map[uint64]int   // slots of the connections that do not live where they began
	waiting map[uint64]*slot // slots that hold messages, by connection
	marks   uint64           // the last mark
	count   counts

	history  History        // nil: no topic keeps one
	presence Presence       // nil if nobody wants to know who is in a topic
	machines Machines       // the others; nil if there are none
	wanted   map[string]int // by topic: the number of ports that want it. Empty without other machines
	scratch  []byte         // for an envelope
}

// NewHub returns a Hub without workers. route returns the slot in which a connection began; it is called with the Hub's
// lock held. It may return slots that have no worker.
func NewHub(route func(conn uint64) int) *Hub {
	h := &Hub{
		route: route, slots: make(map[int]*slot),
		away: make(map[uint64]int), waiting: make(map[uint64]*slot),
	}
	h.own = Port{hub: h, slot: new(slot), gone: true}
	return h
}

// Publish publishes a message from the primary itself, as Local.Publish does. It returns ErrTopic or ErrPayload. If a
// worker misses the message, that is counted, and the worker is told with a Gap.
func (h *Hub) Publish(topic string, opcode byte, payload []byte) error {
	return h.PublishExcept(topic, opcode, payload, 0)
}

// PublishExcept publishes a message from the primary itself, as Local.PublishExcept does.
func (h *Hub) PublishExcept(topic string, opcode byte, payload []byte, except uint64) error {
	return h.send(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload, Conn: except})
}

// SendTo sends a message from the primary itself, as Local.SendTo does. It returns ErrPayload.
func (h *Hub) SendTo(conn uint64, opcode byte, payload []byte) error {
	return h.send(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes a connection from the primary itself, as Local.CloseConn does. It returns ErrPayload.
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

// pass routes the first envelope of m and returns its length. If the length of the envelope is invalid, it returns
// that of m.
func (h *Hub) pass(from *Port, m []byte) int {
	e, topic, n, err := parse(m) // before taking the lock, which all workers share
	keeps := h.history != nil && e.Kind == Publish && h.history.Keeps(topic)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || e.flags&flagFlood != 0 || e.At.Epoch != 0 {
		from.slot.malformed++
		return cmp.Or(n, len(m))
	}
	b := m[:n:n]
	switch e.Kind {
	case Publish:
		if keeps {
			h.retain(string(topic), Kept{Opcode: e.Opcode, Except: e.Conn, Payload: e.Payload})
			break
		}
		h.count.published++
		binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
		for _, p := range h.ports {
			if !p.put(b) {
				p.owed.gap.add(string(topic), h.count.published)
			}
		}
		if h.machines != nil {
			h.machines.Publish(topic, e.Opcode, e.Payload, e.Conn)
		}
	case Send, Close:
		if e.flags&flagBounced != 0 {
			h.count.bounced++
			h.flood(e.Seq, b)
			break
		}
		h.count.directed++
		if h.machines == nil || !h.machines.Direct(e.Conn, b) {
			h.direct(e.Conn, b)
		}
	case Here:
		h.here(from, e.Conn)
	case Gone:
		h.left(from, e.Conn)
	case Fence:
		if !from.gone {
			binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
			from.put(b)
		}
	case Want, Unwant:
		h.want(from, string(topic), e.Kind == Want)
	case Recall:
		h.recall(from, &e, string(topic))
	case Enter, Leave, Told:
		if h.presence != nil && !from.gone {
			h.presence.Received(from.mark, e.Kind, string(topic), e.Payload)
		}
	default: // only the Hub sends Position, Gap, Ask, Past and Change
		from.slot.malformed++
	}
	return n
}

// direct passes a directed message on to the leader of its slot, or holds it.
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

// home returns the slot to which messages for a connection are sent first; nil if it has never had a worker. If
// messages for the connection are held, later ones go to the same slot, so that they cannot overtake them.
func (h *Hub) home(conn uint64) *slot {
	if s, ok := h.waiting[conn]; ok {
		return s
	}
	if number, ok := h.away[conn]; ok {
		return h.slots[number]
	}
	return h.slots[h.route(conn)]
}

// flood sends a directed message to all workers except the one that has bounced it. That one is identified by its mark,
// not by its slot, because the connection may have moved to the next worker of the same slot.
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

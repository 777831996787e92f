package broker

import (
	"encoding/binary"
	"maps"
)

// Machines are the other machines of the service, as the Hub sees them. Its methods are called with the Hub's lock
// held, in the order of publications: they must neither block nor call the Hub. What they get is valid until they
// return.
type Machines interface {
	// Publish sends a publication of this machine to the others. The connection except does not get it; 0 is none.
	Publish(topic []byte, opcode byte, payload []byte, except uint64)
	// Direct sends an envelope for one connection to its machine. It reports false if that is this machine.
	Direct(conn uint64, envelope []byte) (elsewhere bool)
	// Want tells whether this machine has subscribers of a topic from now on.
	Want(topic string, wanted bool)
}

// Join connects the Hub with other machines. It must be called before Attach.
func (h *Hub) Join(m Machines) { h.machines, h.wanted = m, make(map[string]int) }

// Heard delivers a publication of another machine. The connection except does not get it; 0 is none.
func (h *Hub) Heard(topic string, opcode byte, payload []byte, except uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload, Conn: except}
	h.scratch = AppendEnvelope(h.scratch[:0], e)
	h.publish(topic, h.scratch)
	h.trim()
}

// Lost tells the subscribers of a topic that publications of other machines have not reached this one. If the topic is
// empty, they may have been to any topic. missed is how many; 0 if that is unknown.
func (h *Hub) Lost(topic string, missed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publish(topic, AppendEnvelope(nil, Envelope{Kind: Gap, Code: Abroad, Topic: topic, Conn: missed}))
}

// publish numbers a publication or a gap, and passes it to all workers. b is its encoding.
func (h *Hub) publish(topic string, b []byte) {
	h.count.published++
	binary.LittleEndian.PutUint64(b[seqAt:], h.count.published)
	for _, p := range h.ports {
		if !p.put(b) {
			p.owed.gap.add(topic, h.count.published)
		}
	}
}

// Arrived delivers a message for one connection that another machine has sent, one envelope. It modifies b. It returns
// ErrEnvelope if b is not such an envelope.
func (h *Hub) Arrived(b []byte) error {
	e, _, n, err := parse(b)
	if err != nil || n != len(b) || e.Kind != Send && e.Kind != Close {
		return ErrEnvelope
	}
	b[flagsAt] = 0
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count.directed++
	h.direct(e.Conn, b)
	return nil
}

// trim frees a scratch buffer that a long message has made.
func (h *Hub) trim() {
	if cap(h.scratch) > maxKeptBuffer {
		h.scratch = nil
	}
}

// want records that the worker of a port has subscribers of a topic, or no longer has.
func (h *Hub) want(p *Port, topic string, wanted bool) {
	_, known := p.wants[topic]
	switch {
	case h.machines == nil || p.gone || known == wanted:
	case wanted:
		if p.wants == nil {
			p.wants = make(map[string]struct{})
		}
		p.wants[topic] = struct{}{}
		if h.wanted[topic]++; h.wanted[topic] == 1 {
			h.machines.Want(topic, true)
		}
	default:
		delete(p.wants, topic)
		if h.wanted[topic]--; h.wanted[topic] == 0 {
			delete(h.wanted, topic)
			h.machines.Want(topic, false)
		}
	}
}

// unwantAll forgets what a worker that has ended wanted.
func (h *Hub) unwantAll(p *Port) {
	gone := p.wants
	p.wants = nil
	for topic := range maps.Keys(gone) {
		if h.wanted[topic]--; h.wanted[topic] == 0 {
			delete(h.wanted, topic)
			h.machines.Want(topic, false)
		}
	}
}

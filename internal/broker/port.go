package broker

import "slices"

// Port is the Hub's side of one worker. A slot may have several: while a worker is being replaced, both receive all
// publications, and messages to connections go to the one that leads the slot. It is safe for concurrent use.
type Port struct {
	hub  *Hub
	slot *slot
	mark uint64 // unique among all ports of the machine, ever
	link Link
	gone bool // detached
	owed owed

	wants map[string]struct{} // topics with subscribers in the worker
}

// slot is the place of a worker and of its successors.
type slot struct {
	slotCounts
	number int
	ports  []*Port // in the order of Attach
	leader *Port   // nil if there are no ports
	hold   bool
	held   []byte // directed messages, in order; empty unless hold is set
}

// Attach adds a worker to a slot. From now on it receives all publications and, if it is the only worker of the slot,
// the messages to the slot's connections. Another worker takes those over with Port.Lead. The first envelope for l is a
// Position: the worker receives the publications after that number. If there are other machines, or a Presence,
// an Ask follows. l may be called before Attach returns.
func (h *Hub) Attach(slot int, l Link) *Port {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks++
	s := h.slot(slot)
	p := &Port{hub: h, slot: s, mark: h.marks, link: l}
	h.ports = append(h.ports, p)
	s.ports = append(s.ports, p)
	if s.leader == nil {
		s.leader = p
	}
	p.put(AppendEnvelope(nil, Envelope{Kind: Position, Seq: h.count.published}))
	if h.presence != nil {
		h.presence.Attached(p.mark)
	}
	if h.machines != nil || h.presence != nil {
		p.put(AppendEnvelope(nil, Envelope{Kind: Ask}))
	}
	return p
}

// slot returns the slot with a number, and makes it if necessary.
func (h *Hub) slot(number int) *slot {
	s, ok := h.slots[number]
	if !ok {
		s = &slot{number: number}
		h.slots[number] = s
	}
	return s
}

// Receive passes on a message from the worker, which is one or more envelopes. It writes their numbers into m.
// Invalid envelopes are counted and skipped. The messages of one worker must be passed in order. Those of several
// workers may be passed concurrently; their envelopes may then be interleaved. After Detach, messages are still
// passed on, but not answered.
func (p *Port) Receive(m []byte) {
	for len(m) > 0 {
		m = m[p.hub.pass(p, m):]
	}
}

// Hold makes the Hub hold messages to the connections of the port's slot, in order, until Resume or Lead. Messages
// beyond MaxHeld are dropped and counted. Hold does nothing after Detach.
func (p *Port) Hold() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone {
		p.slot.hold = true
	}
}

// Lead makes the port the leader of its slot: messages to connections go to it. Messages that were held are sent
// first, each to where its connection lives now; if that is another slot that holds, they are held there. Lead does
// nothing after Detach.
func (p *Port) Lead() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.gone {
		return
	}
	p.slot.leader = p
	p.hub.release(p.slot)
}

// Resume ends Hold without changing the leader. It does nothing after Detach.
func (p *Port) Resume() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone {
		p.hub.release(p.slot)
	}
}

// Detach removes the worker. If it led its slot, the last worker that was attached to the slot leads now, as after
// Lead. If there is none, the Hub removes its records of connections that live in the slot, and routes the messages
// that were held as it does for a slot without a worker. It does the same with closes that the worker was owed. A
// second call does nothing.
func (p *Port) Detach() {
	h, s := p.hub, p.slot
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.gone {
		return
	}
	p.gone = true
	is := func(q *Port) bool { return q == p }
	h.ports = slices.DeleteFunc(h.ports, is)
	s.ports = slices.DeleteFunc(s.ports, is)
	switch {
	case len(s.ports) == 0:
		s.leader = nil
		h.forget(s)
		h.release(s)
	case s.leader == p:
		s.leader = s.ports[len(s.ports)-1]
		h.release(s)
	}
	h.passOn(p.owed.closes)
	p.owed = owed{}
	h.unwantAll(p)
	if h.presence != nil {
		h.presence.Detached(p.mark)
	}
}

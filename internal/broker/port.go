package broker

import "slices"

// Port is the Hub's side of one worker. Several may be of the same slot: while a worker is replaced, both hear all
// publications, and messages to a connection go to the one that leads the slot. Any goroutine.
type Port struct {
	hub  *Hub
	slot *slot
	mark uint64 // tells it from all others that there are, were or will be
	link Link
	gone bool // detached
	owed owed
}

// slot is the place of a worker and of those that come after it.
type slot struct {
	slotCounts
	number int
	ports  []*Port // the latest last
	leader *Port   // nil if there are no ports
	hold   bool
	held   []byte // directed messages, in order; none unless hold
}

// Attach passes messages to a worker in a slot from now on: all publications and, if it is the slot's only one,
// messages to the slot's connections. Others take those over with Port.Lead. The first envelope for l is a Position:
// the worker hears the publications after that number. l may be called before Attach returns.
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
	return p
}

// slot finds a slot or makes it.
func (h *Hub) slot(number int) *slot {
	s, ok := h.slots[number]
	if !ok {
		s = &slot{number: number}
		h.slots[number] = s
	}
	return s
}

// Receive passes on a message from the worker: one or more envelopes. It writes their numbers into m. What is no
// envelope is counted and left out. Messages of one worker must come in order; those of several may come at once, and
// envelopes of one may find those of another between them. What comes after Detach is passed on, too, but not answered.
func (p *Port) Receive(m []byte) {
	for len(m) > 0 {
		m = m[p.hub.pass(p, m):]
	}
}

// Hold holds messages to the connections of the port's slot in the Hub, in order, until Resume or Lead. What is more
// than MaxHeld is dropped and counted. It does nothing after Detach.
func (p *Port) Hold() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone {
		p.slot.hold = true
	}
}

// Lead makes the port the one of its slot that messages to connections go to. Those that were held go first, each to
// where its connection lives now: if that is another slot that holds, they stay held there. It does nothing after
// Detach.
func (p *Port) Lead() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.gone {
		return
	}
	p.slot.leader = p
	p.hub.release(p.slot)
}

// Resume ends Hold, and leaves the slot to the port that leads it. It does nothing after Detach.
func (p *Port) Resume() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone {
		p.hub.release(p.slot)
	}
}

// Detach ends what Attach began. If the port led its slot, the latest of the others there leads now, as if by Lead. If
// there is no other, all that the Hub knew to live in this slot is forgotten, and what was held goes wherever messages
// go whose worker is not there, as closes do that the worker has not got. It does nothing the second time.
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
}

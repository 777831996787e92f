package broker

// MaxHeld is the size of the directed messages that a slot can hold, in bytes with their headers: see Port.Hold.
const MaxHeld = 16 << 20

// keep holds a directed message in a slot.
func (h *Hub) keep(s *slot, conn uint64, b []byte) {
	if len(s.held)+len(b) > MaxHeld {
		s.dropped++
		h.count.heldFull++
		return
	}
	s.held = append(s.held, b...)
	h.waiting[conn] = s
}

// release passes on what a slot holds and stops holding. Each message is routed again, because its connection may have
// moved; it may be held again, in another slot.
func (h *Hub) release(s *slot) {
	held := s.held
	s.hold, s.held = false, nil
	for e := range directed(held) {
		delete(h.waiting, e.Conn)
	}
	for e, b := range directed(held) {
		h.direct(e.Conn, b)
	}
}

// directed iterates over consecutive envelopes that are known to be valid.
func directed(held []byte) func(yield func(e Envelope, b []byte) bool) {
	return func(yield func(Envelope, []byte) bool) {
		for len(held) > 0 {
			e, _, n, err := parse(held)
			if err != nil || !yield(e, held[:n:n]) {
				return
			}
			held = held[n:]
		}
	}
}

package broker

import "maps"

// MaxAway is the number of connections that the Hub can record as living in another slot than the one where they began.
const MaxAway = 1 << 20

// here records that a connection lives in a port's slot.
func (h *Hub) here(p *Port, conn uint64) {
	if len(p.slot.ports) == 0 {
		return // no Detach would remove it
	}
	if h.route(conn) == p.slot.number {
		delete(h.away, conn)
		return
	}
	if _, known := h.away[conn]; !known && len(h.away) >= MaxAway {
		h.count.awayFull++
		return
	}
	h.away[conn] = p.slot.number
}

// left removes the record that a connection lives in a port's slot. A record that it lives elsewhere stays.
func (h *Hub) left(p *Port, conn uint64) {
	if number, ok := h.away[conn]; ok && number == p.slot.number {
		delete(h.away, conn)
	}
}

// forget removes the records of all connections that live in a slot.
func (h *Hub) forget(s *slot) {
	maps.DeleteFunc(h.away, func(_ uint64, number int) bool { return number == s.number })
}

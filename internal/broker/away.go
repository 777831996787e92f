package broker

import "maps"

// MaxAway bounds the connections of which the Hub knows that they live in another slot than where they began.
const MaxAway = 1 << 20

// here notes that a connection lives in a port's slot.
func (h *Hub) here(p *Port, conn uint64) {
	if len(p.slot.ports) == 0 {
		return // nobody would ever forget it
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

// left forgets that a connection lives in a port's slot; if it is known to live elsewhere by now, that stays.
func (h *Hub) left(p *Port, conn uint64) {
	if number, ok := h.away[conn]; ok && number == p.slot.number {
		delete(h.away, conn)
	}
}

// forget is left for all connections at once.
func (h *Hub) forget(s *slot) {
	maps.DeleteFunc(h.away, func(_ uint64, number int) bool { return number == s.number })
}

package broker

// MaxOwed is the size of the closes that the Hub keeps for a worker whose link does not take them, in bytes with their
// headers. Closes beyond it are dropped and counted.
const MaxOwed = 256 << 10

// owed is what a worker's link could not take and gets as soon as it has room: the gaps in its publications, and
// closes, which must not be lost because a connection would stay open. The zero value is nothing.
type owed struct {
	gap    gap
	closes []byte // encoded, in order
	count  uint64 // number of closes
}

func (o *owed) empty() bool { return o.gap.all.count == 0 && o.count == 0 }

// append appends the gaps and the closes.
func (o *owed) append(dst []byte) []byte {
	if o.gap.all.count > 0 {
		dst = o.gap.append(dst)
	}
	return append(dst, o.closes...)
}

// keep keeps a close. It reports false for any other envelope, and if there are too many closes.
func (o *owed) keep(b []byte) bool {
	if Kind(b[kindAt]) != Close || len(o.closes)+len(b) > MaxOwed {
		return false
	}
	o.closes = append(o.closes, b...)
	o.count++
	return true
}

// put sends an envelope to the worker, after what it is owed, and reports whether the link has taken it. A close that
// was not taken is owed. The Hub's lock must be held.
func (p *Port) put(b []byte) bool {
	m := b
	if !p.owed.empty() { // send both or none, or each message that is refused would cause a gap of its own
		m = append(p.owed.append(nil), b...)
	}
	if p.link.Send(m) != nil {
		if !p.owed.keep(b) {
			p.slot.dropped++
		}
		return false
	}
	p.slot.delivered += p.owed.count + 1
	p.owed = owed{}
	return true
}

// Flush sends the worker what it is owed, if its link has room. Call it when the link has room again. Every message
// to the worker does the same first.
func (p *Port) Flush() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone && !p.owed.empty() && p.link.Send(p.owed.append(nil)) == nil {
		p.slot.delivered += p.owed.count
		p.owed = owed{}
	}
}

// passOn routes the closes again that an ended worker was owed: their connections may live elsewhere.
func (h *Hub) passOn(closes []byte) {
	for e, b := range directed(closes) {
		if e.flags&flagFlood == 0 { // otherwise all workers have received it
			h.direct(e.Conn, b)
		}
	}
}

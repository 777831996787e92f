package broker

// MaxOwed bounds the closes that the Hub keeps for a worker whose link does not take them, in bytes with their headers.
// What is more is dropped and counted.
const MaxOwed = 256 << 10

// owed is what a worker has not got because its link was full, and gets as soon as there is room: what it has missed of
// publications, and closes of connections, which must not stay open. The zero value is nothing.
type owed struct {
	gap    gap
	closes []byte // in order
	count  uint64 // of closes
}

func (o *owed) empty() bool { return o.gap.all.count == 0 && o.count == 0 }

// append appends all of it.
func (o *owed) append(dst []byte) []byte {
	if o.gap.all.count > 0 {
		dst = o.gap.append(dst)
	}
	return append(dst, o.closes...)
}

// keep keeps a close. It reports false for anything else, and if there are too many.
func (o *owed) keep(b []byte) bool {
	if Kind(b[kindAt]) != Close || len(o.closes)+len(b) > MaxOwed {
		return false
	}
	o.closes = append(o.closes, b...)
	o.count++
	return true
}

// put queues an envelope for the worker, behind what it is owed, and reports whether the link has taken it. A close
// that it has not taken is owed. The Hub's lock is held.
func (p *Port) put(b []byte) bool {
	m := b
	if !p.owed.empty() { // both or none: or each message that finds no room would make a gap of its own
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

// Flush sends the worker what it is owed, if its link has room for that by now. Call it when the link has room again;
// whatever is sent to the worker does the same first.
func (p *Port) Flush() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if !p.gone && !p.owed.empty() && p.link.Send(p.owed.append(nil)) == nil {
		p.slot.delivered += p.owed.count
		p.owed = owed{}
	}
}

// passOn routes the closes that a worker is owed and that has ended again: its connections may live elsewhere.
func (h *Hub) passOn(closes []byte) {
	for e, b := range directed(closes) {
		if e.flags&flagFlood == 0 { // else the others were asked, too
			h.direct(e.Conn, b)
		}
	}
}

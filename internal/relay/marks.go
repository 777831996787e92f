package relay

// marks are messages of a machine to itself. When one has come, so has everything that the server of its topic has
// passed on before: a program that reads late has what was on its way to it. If topics are spread over several servers,
// a mark tells nothing of the others.
type marks struct {
	first, sent    uint64
	heard, bridged uint64 // the latest that has come from the backplane, and through a bridge
}

// start sets the number before the first one: those of the program before are others.
func (m *marks) start(first uint64) { *m = marks{first, first, first, first} }

// mark sends a mark, and returns its number.
func (r *Relay) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks.sent++
	m := message{kind: mark, node: r.Node, seq: r.marks.sent}
	_ = r.Backplane.Publish(machineTopic(r.Machine), m.append(nil)) // who waits has a limit
	return r.marks.sent
}

// marked notes that a mark has come.
func (r *Relay) marked(seq uint64, bridged bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.marks
	switch {
	case seq <= m.first || seq > m.sent: // of the program before
	case bridged:
		m.bridged = max(m.bridged, seq)
	default:
		m.heard = max(m.heard, seq)
	}
}

// has reports whether a mark has come.
func (r *Relay) has(seq uint64, bridged bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bridged {
		return r.marks.bridged >= seq
	}
	return r.marks.heard >= seq
}

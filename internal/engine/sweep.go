package engine

// sweepStep is the number of connections that a sweep visits in one turn of the loop.
const sweepStep = 4096

// Sweep calls f on the loop for each open connection that has been here since before the call. It visits a few thousand
// connections per turn, so that the others are served meanwhile. f must not block. done, if not nil, is called after
// the last call of f. Sweep reports false after Stop. It is safe for concurrent use.
func (e *Engine) Sweep(f func(c *Conn), done func()) bool {
	return e.Post(func() { e.sweep(0, f, done) })
}

func (e *Engine) sweep(from int, f func(c *Conn), done func()) {
	to := min(from+sweepStep, len(e.conns))
	for _, c := range e.conns[from:to] {
		if c != nil && c.phase.Load() == phaseOpen {
			f(c)
		}
	}
	switch {
	case to < len(e.conns):
		e.Post(func() { e.sweep(to, f, done) })
	case done != nil:
		done()
	}
}

// Slots returns the number of slots for connections, including free ones. On the loop.
func (e *Engine) Slots() int { return len(e.conns) }

// Walk calls f for the open connections in count slots starting at from, and returns the slot at which the next walk
// should start. Successive walks visit every connection in turn. On the loop.
func (e *Engine) Walk(from, count int, f func(c *Conn)) (next int) {
	if from >= len(e.conns) {
		from = 0
	}
	to := min(from+count, len(e.conns))
	for _, c := range e.conns[from:to] {
		if c != nil && c.phase.Load() == phaseOpen {
			f(c)
		}
	}
	return to
}

// Activity returns a number that changes whenever a socket arrives or a message is received or sent. It is safe for
// concurrent use.
func (e *Engine) Activity() uint64 {
	n := &e.count
	return n.accepted.Load() + n.textIn.Load() + n.binaryIn.Load() + n.textOut.Load() + n.binaryOut.Load() +
		n.movedIn.Load() + n.movedOut.Load() + uint64(e.handshakes.Load())
}

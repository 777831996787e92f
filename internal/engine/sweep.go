package engine

// sweepStep is the number of connections that a sweep looks at in one turn of the loop.
const sweepStep = 4096

// Sweep calls f on the loop for each open connection that has been here since before the call, some thousand per turn,
// so that the others are served meanwhile. f must not block. done is called behind the last; nil is nothing. It reports
// false after Stop. Any goroutine.
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

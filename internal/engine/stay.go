package engine

import (
	"errors"
	"slices"
)

// stay is the reason why a connection cannot move.
type stay uint8

const (
	stayDescriptor stay = iota // its socket has no descriptor of its own
	staySuspend                // Suspend has failed
	stayCallback               // its callback does not return
	stayLarge                  // its state is too large
	stayData                   // Route.Stays reported true
	stayRefused                // the other worker cannot read its state
	numStays
)

// String returns the name of the reason in results and metrics.
func (s stay) String() string {
	return [numStays]string{"no_descriptor", "suspend_failed", "callback_runs", "state_too_large", "data", "refused"}[s]
}

var errStays = errors.New("engine: it has data that its handler cannot move")

// undecided reports whether c is in the handshake of TLS, or in Authorize: it can move after that.
func (c *Conn) undecided() bool { return c.phase.Load() == phaseDecide || c.sock.Shakes() }

// nudge tells a departure that a connection it waits for may be ready, or gone. On the loop.
func (e *Engine) nudge() {
	if e.leaving.Load() && e.dep.ready != nil {
		e.dep.ready()
	}
}

// Split takes the connections at places, which are in ascending order, out of b, and returns them as another batch. It
// has no states.
func (b *Batch) Split(places []int) *Batch {
	out := &Batch{position: b.position}
	for i := len(places) - 1; i >= 0; i-- {
		at := places[i]
		out.conns, out.FDs = append(out.conns, b.conns[at]), append(out.FDs, b.FDs[at])
		b.conns, b.FDs = slices.Delete(b.conns, at, at+1), slices.Delete(b.FDs, at, at+1)
	}
	return out
}

// Keep is Thaw for connections that the other worker has refused: they do not leave in this departure. On the loop.
func (e *Engine) Keep(b *Batch, reason string) {
	conns := b.conns
	e.Thaw(b)
	for _, z := range conns {
		if e.dep.staying != nil && !z.conn.gone() { // otherwise the departure is over
			e.remain(z.conn, stayRefused, errors.New(reason))
		}
	}
}

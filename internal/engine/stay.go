package engine

import "errors"

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

package cluster

// loop runs functions one after the other on a single goroutine, which supervisor.run is. State that is documented as
// "on the loop only" may be touched by those functions and by nothing else.
type loop struct {
	inbox chan func()
	ended chan struct{} // closed when all workers have ended after Drain or Stop
}

func newLoop() loop {
	return loop{inbox: make(chan func(), 64), ended: make(chan struct{})}
}

// post runs f on the loop, after all functions posted before. It does nothing once the loop has ended.
func (l *loop) post(f func()) {
	select {
	case l.inbox <- f:
	case <-l.ended:
	}
}

// call runs f on the loop and waits until it has returned. It does nothing once the loop has ended. It must not be
// called on the loop.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	l.post(func() { f(); close(done) })
	select {
	case <-done:
	case <-l.ended: // f has returned, or will never run
	}
}

func (l *loop) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

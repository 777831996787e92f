package secure

import (
	"errors"
	"net"
	"sync"
)

// gate bounds how many handshakes compute at a time. The others wait in two queues: those that have begun come first,
// because their clients have computed already, and so that few are in the middle, where they need most memory. One in
// newcomers turns is for a client that has just come.
type gate struct {
	mu     sync.Mutex
	free   int      // handshakes that may begin to compute
	begun  []*gated // whose client has answered
	fresh  []*gated // that have not begun
	queued int      // of fresh that have not left
	row    int      // turns of begun in a row while others waited
}

const (
	newcomers = 8
	// maxQueued bounds how many clients wait for their first turn. They wait for some seconds then.
	maxQueued = 16 << 10
)

var errBusy = errors.New("secure: too many clients wait for their handshake")

// enter waits for the turn of g. It returns an error if g was abandoned meanwhile, or if too many wait.
func (t *gate) enter(g *gated) error {
	t.mu.Lock()
	switch {
	case t.free > 0:
		t.free--
		t.mu.Unlock()
		return nil
	case g.begun:
		t.begun = append(t.begun, g)
	case t.queued >= maxQueued:
		t.mu.Unlock()
		return errBusy
	default:
		t.fresh = append(t.fresh, g)
		t.queued++
	}
	g.queued = true
	t.mu.Unlock()
	select {
	case <-g.turn:
		return nil
	case <-g.gone:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !g.queued { // it is its turn
		<-g.turn
		t.pass()
	} else if g.queued = false; !g.begun {
		t.queued--
	}
	return net.ErrClosed
}

// leave ends a turn.
func (t *gate) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a turn to the next in the queues. t.mu must be held.
func (t *gate) pass() {
	for len(t.begun)+len(t.fresh) > 0 {
		from := &t.begun
		if len(t.fresh) > 0 && (len(t.begun) == 0 || t.row >= newcomers-1) {
			from, t.row = &t.fresh, 0
		} else {
			t.row++
		}
		g := (*from)[0]
		(*from)[0] = nil
		if *from = (*from)[1:]; len(*from) == 0 {
			*from = nil
		}
		if !g.queued {
			continue
		}
		if g.queued = false; !g.begun {
			t.queued--
		}
		g.turn <- struct{}{}
		return
	}
	t.free++
}

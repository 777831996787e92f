package reactor

import (
	"sync/atomic"
	"time"
)

// shakers are goroutines that read pumps. One that has ended with a handshake does another: crypto/tls needs 16 KiB of
// stack, to which that of a new goroutine grows in steps, each of which copies it.
type shakers struct {
	next chan *pump
	idle atomic.Int32
}

const (
	// maxIdleShakers bounds how many wait for another handshake, and shakerIdle how long.
	maxIdleShakers = 64
	shakerIdle     = 100 * time.Millisecond
)

// run reads p on a goroutine that waits, or on a new one.
func (s *shakers) run(p *pump) {
	select {
	case s.next <- p:
	default:
		go s.work(p)
	}
}

// work reads pumps until there is none for a while.
func (s *shakers) work(p *pump) {
	for p != nil {
		p.read()
		p = s.another()
	}
}

// another returns the next pump, or nil.
func (s *shakers) another() *pump {
	defer s.idle.Add(-1)
	if s.idle.Add(1) > maxIdleShakers {
		return nil
	}
	t := time.NewTimer(shakerIdle)
	defer t.Stop()
	select {
	case p := <-s.next:
		return p
	case <-t.C:
		return nil
	}
}

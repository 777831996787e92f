package relay

import (
	"context"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// lease is how long a machine is known after its last announcement, and announceEvery the time between two.
	lease, announceEvery = 15 * time.Second, 5 * time.Second
	// announceAgain is the time until a failed announcement is tried again, and announceLimit that of one attempt.
	announceAgain, announceLimit = time.Second, 3 * time.Second
	// withdrawLimit is how long the end of a machine waits for the directory.
	withdrawLimit = time.Second
)

// Self is what a machine tells others of itself. Its functions are called on goroutines of their own.
type Self struct {
	// About returns what Machine.About tells of this machine.
	About func() []byte
	// Answer answers a question of another machine. It may block until ctx ends.
	Answer func(ctx context.Context, q Question) ([]byte, error)
}

// Introduce sets what other machines are told of this one. Before, it is not in the directory.
func (r *Relay) Introduce(s Self) {
	r.self.Store(&s)
	r.announceNow()
}

// announceNow announces this machine without waiting for the next time.
func (r *Relay) announceNow() {
	select {
	case r.introduced <- struct{}{}:
	default:
	}
}

// isAnnounced reports whether the directory should have this machine.
func (r *Relay) isAnnounced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats.Machines > 0 && r.stats.AnnounceErr == nil
}

// announce keeps this machine in the directory until Close.
func (r *Relay) announce(d backplane.Directory) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.introduced:
		case <-timer.C:
		case <-r.done:
			return
		}
		next := announceEvery
		if self := r.self.Load(); self != nil && !r.announceOnce(d, self.About()) {
			next = announceAgain
		}
		timer.Reset(next)
	}
}

// announceOnce announces this machine, and reports whether that has succeeded.
func (r *Relay) announceOnce(d backplane.Directory, about []byte) bool {
	ctx, cancel := context.WithTimeout(context.Background(), announceLimit)
	defer cancel()
	known, err := d.Announce(ctx, backplane.Machine{Name: nodeName(r.Node), About: about}, lease)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.stats.AnnounceErr = err
		return false
	}
	r.stats.Machines, r.stats.AnnounceErr = known, nil
	return true
}

// retire removes this machine from the directory: it ends.
func (r *Relay) retire() {
	d, ok := r.Backplane.(backplane.Directory)
	if !ok || r.self.Load() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), withdrawLimit)
	defer cancel()
	_ = d.Withdraw(ctx, nodeName(r.Node)) // else the lease ends
}

// Package storeguard makes an outage of a session store harmless.
package storeguard

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Config is what a Guard stands between. Main and Spare are required.
type Config struct {
	// Main is the store that may go away. Close closes it.
	Main session.Store
	// Spare takes what cannot wait meanwhile. It is another's to close.
	Spare session.Store
	// QueueLimit is how many bytes of writes may wait for Main; 0 means 1 MiB.
	QueueLimit int
	// Require lets nothing in while Main is away.
	Require bool
	// Timeout bounds every call; 0 means 2 s. Main has half of it, so that the rest is left for Spare.
	Timeout time.Duration
	// Log gets a line at the beginning and the end of each outage; nil means slog.Default.
	Log *slog.Logger
	// MayLog reports whether one more line about a single session may be logged now; nil is always. Any goroutine.
	MayLog func() bool
}

// Guard is a Store for one worker that makes an outage of another store harmless. While that is away, new connections
// get their session in the spare store, writes are queued and fail with ErrDeferred, and what cannot be known fails
// with ErrUnavailable. When it is back, the spare's sessions move there, and then the queue. Make one with
// [New].
type Guard struct {
	main, spare session.Store
	limit       int
	require     bool
	timeout     time.Duration
	log         *slog.Logger
	mayLog      func() bool

	mu          sync.Mutex
	state       guardState
	epoch       uint64 // outages so far
	since       time.Time
	cause       error
	told        bool          // the log has the outage, and not its end
	upAt        time.Time     // when the latest outage ended
	pause       time.Duration // before the next probe
	provisional map[session.ID]*resident
	moved       chan struct{}              // closed when those that move have moved
	idle        chan struct{}              // told when one in the spare store is not busy any more
	queue       []deferred                 // the oldest first; one that is being replayed is still there
	queued      int                        // bytes in queue
	number      uint64                     // of the latest write in queue
	behind      map[session.ID]int         // how many writes of a session are in queue
	ended       map[session.ID]session.Ref // connections whose end the main store has not heard of
	count       Stats
	closing     bool

	done  chan struct{}
	tasks sync.WaitGroup
}

// guardState is how the main store is.
type guardState uint8

const (
	guardUp guardState = iota
	guardDown
	guardRecovering // it is back, and does not have everything yet
)

// Stats is what a Guard has done. Counters only grow.
type Stats struct {
	Outages, Probes uint64
	Deferred        uint64 // writes that were queued
	Refused         uint64 // what there was no room for, or what the main store did not take later
	Replayed        uint64 // writes that were queued and are stored
	Provisional     uint64 // sessions that were made in the spare store
	Restored        uint64 // of these: that moved to the main store
	DetachLost      uint64 // ends of connections that were given up
	Waiting         int    // bytes in the queue now
}

// New makes a Guard that takes the main store for up.
func New(c Config) *Guard {
	g := &Guard{
		main: c.Main, spare: c.Spare, limit: c.QueueLimit, require: c.Require, timeout: c.Timeout, log: c.Log,
		provisional: make(map[session.ID]*resident), moved: make(chan struct{}), idle: make(chan struct{}, 1),
		behind: make(map[session.ID]int), ended: make(map[session.ID]session.Ref), done: make(chan struct{}),
	}
	if g.limit <= 0 {
		g.limit = 1 << 20
	}
	if g.timeout <= 0 {
		g.timeout = 2 * time.Second
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.mayLog = c.MayLog; g.mayLog == nil {
		g.mayLog = func() bool { return true }
	}
	return g
}

// State says whether the main store is away or does not have everything yet, since when, and why.
func (g *Guard) State() (down bool, since time.Time, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == guardUp {
		return false, time.Time{}, nil
	}
	return true, g.since, g.cause
}

// Stats returns a snapshot.
func (g *Guard) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.count
	s.Waiting = g.queued
	return s
}

// Settle waits until the main store has all writes, or until ctx ends. Ends of connections are not waited for: a
// session that is taken for connected lives on until its time is over.
func (g *Guard) Settle(ctx context.Context) {
	tick := time.NewTicker(settlePause)
	defer tick.Stop()
	for {
		g.mu.Lock()
		waits := len(g.queue)
		g.mu.Unlock()
		if waits == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

const settlePause = 20 * time.Millisecond

// Close ends what the Guard runs, and closes the main store. What is still queued is lost.
func (g *Guard) Close() error {
	g.mu.Lock()
	first := !g.closing
	g.closing = true
	writes, ends := len(g.queue), len(g.ended)
	g.mu.Unlock()
	if first {
		close(g.done)
	}
	g.tasks.Wait()
	if first && writes+ends > 0 {
		g.log.Warn("the session store was not back in time", "writes_lost", writes, "ends_lost", ends)
	}
	return g.main.Close()
}

// isAway says whether an error is that of a store that is not there; the others are answers.
func isAway(err error) bool {
	return errors.Is(err, session.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// bound is the time that a call has.
func (g *Guard) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, g.timeout)
}

// ask calls the main store, unless it is away. It reports false if it is: the caller does without. Callers that do
// not want to know any more say nothing about the store, nor do those that had hardly any time.
func (g *Guard) ask(ctx context.Context, call func(context.Context) error) (asked bool, err error) {
	g.mu.Lock()
	down, cause, epoch := g.state == guardDown, g.cause, g.epoch
	g.mu.Unlock()
	if down {
		return false, session.Unavailable(cause)
	}
	part, cancel := context.WithTimeout(ctx, g.timeout/2)
	defer cancel()
	began := time.Now()
	err = call(part)
	hasty := ctx.Err() != nil && (errors.Is(ctx.Err(), context.Canceled) || time.Since(began) < g.timeout/4)
	if err == nil || hasty || !isAway(err) {
		return true, err
	}
	g.trip(epoch, err)
	return false, session.Unavailable(err)
}

// trip notes that the main store is away, and begins to look for it. What failed and began before the latest outage
// is no news.
func (g *Guard) trip(epoch uint64, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == guardDown || epoch != g.epoch {
		return
	}
	was := g.state
	g.state, g.cause = guardDown, cause
	g.epoch++
	g.count.Outages++
	if was == guardUp {
		g.since = time.Now()
	}
	if g.since.Sub(g.upAt) > probeLast {
		g.pause = probeFirst // else it comes and goes, and is asked ever more seldom
	}
	if !g.told {
		g.told = true
		g.log.Warn("the session store is away: new sessions live in the primary, writes are queued", "error", cause)
	}
	if was == guardUp && !g.closing {
		g.tasks.Go(g.recover)
	}
}

// lookLocked makes sure that somebody brings to the main store what waits for it: a call that was under way when it
// failed may end when it is back. With g.mu held.
func (g *Guard) lookLocked() {
	if g.state == guardUp && !g.closing {
		g.state, g.since = guardRecovering, time.Now()
		g.tasks.Go(g.recover)
	}
}

var _ session.Store = (*Guard)(nil)

package session

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// GuardConfig is what a Guard stands between. Main and Spare are required.
type GuardConfig struct {
	// Main is the store that may go away. Close closes it.
	Main Store
	// Spare takes what cannot wait meanwhile. It is another's to close.
	Spare Store
	// QueueLimit is how many bytes of writes may wait for Main; 0 means 1 MiB.
	QueueLimit int
	// Require lets nothing in while Main is away.
	Require bool
	// Timeout bounds every call; 0 means 2 s.
	Timeout time.Duration
	// Log gets a line at the beginning and the end of each outage; nil means slog.Default.
	Log *slog.Logger
}

// Guard is a Store for one worker that makes an outage of another store harmless. While that is away, new connections get
// their session in the spare store, writes are queued and fail with ErrDeferred, and what cannot be known fails with
// ErrUnavailable. When it is back, the spare's sessions move there, and then the queue. Make one with [NewGuard].
type Guard struct {
	main, spare Store
	limit       int
	require     bool
	timeout     time.Duration
	log         *slog.Logger

	mu          sync.Mutex
	state       guardState
	since       time.Time // of the outage
	cause       error
	pause       time.Duration // before the next probe
	provisional map[ID]bool   // sessions in the spare store; true: on its way to the main one
	queue       []deferred
	queued      int        // bytes in queue
	ended       map[ID]Ref // connections whose end the main store has not heard of
	tickets     bool       // there may be some in the spare store
	count       GuardStats
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

// deferred is a write that waits.
type deferred struct {
	id      ID
	changes Changes
	size    int
}

// maxEnded is how many ends of connections wait for the main store.
const maxEnded = 64 << 10

// GuardStats is what a Guard has done. Counters only grow.
type GuardStats struct {
	Outages, Probes uint64
	Deferred        uint64 // writes that were queued
	Refused         uint64 // writes that found the queue full, or that the main store did not take later
	Replayed        uint64 // writes that were queued and are stored
	Provisional     uint64 // sessions that were made in the spare store
	Restored        uint64 // of these: that moved to the main store
	DetachLost      uint64 // ends of connections that were given up
	Waiting         int    // bytes in the queue now
}

// NewGuard makes a Guard that takes the main store for up.
func NewGuard(c GuardConfig) *Guard {
	g := &Guard{
		main: c.Main, spare: c.Spare, limit: c.QueueLimit, require: c.Require, timeout: c.Timeout, log: c.Log,
		provisional: make(map[ID]bool), ended: make(map[ID]Ref), done: make(chan struct{}),
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
	return g
}

// State says whether the main store is away, since when, and why.
func (g *Guard) State() (down bool, since time.Time, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == guardUp {
		return false, time.Time{}, nil
	}
	return true, g.since, g.cause
}

// Stats returns a snapshot.
func (g *Guard) Stats() GuardStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.count
	s.Waiting = g.queued
	return s
}

// Close ends what the Guard runs, and closes the main store. What is still queued is lost.
func (g *Guard) Close() error {
	g.mu.Lock()
	first := !g.closing
	g.closing = true
	g.mu.Unlock()
	if first {
		close(g.done)
	}
	g.tasks.Wait()
	return g.main.Close()
}

// isAway says whether an error is that of a store that is not there; the others are answers.
func isAway(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// ask calls the main store, unless it is away. It reports false if it is: the caller does without.
func (g *Guard) ask(ctx context.Context, call func(context.Context) error) (asked bool, err error) {
	g.mu.Lock()
	down, cause := g.state == guardDown, g.cause
	g.mu.Unlock()
	if down {
		return false, unavailable(cause)
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err = call(ctx)
	if !isAway(err) {
		return true, err
	}
	g.trip(err)
	return false, unavailable(err)
}

// trip notes that the main store is away, and begins to look for it.
func (g *Guard) trip(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.state
	g.state, g.cause = guardDown, cause
	if was != guardUp || g.closing {
		return // whoever looks for it goes on
	}
	g.since = time.Now()
	g.count.Outages++
	g.log.Warn("the session store is away: new sessions live in the primary, writes are queued", "error", cause)
	g.tasks.Go(g.recover)
}

// isProvisional says whether a session is in the spare store, and whether it is about to leave it.
func (g *Guard) isProvisional(id ID) (yes, moving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	moving, yes = g.provisional[id]
	return yes, moving
}

// Attach is Store's.
func (g *Guard) Attach(ctx context.Context, a Attach) (done Attached, err error) {
	if yes, _ := g.isProvisional(a.ID); !yes {
		asked, err := g.ask(ctx, func(ctx context.Context) (err error) {
			done, err = g.main.Attach(ctx, a)
			return err
		})
		if asked || g.require {
			return done, err
		}
	}
	done, err = g.spare.Attach(ctx, a)
	if err != nil {
		return done, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.provisional[done.Session.ID]; !known {
		g.provisional[done.Session.ID] = false
		g.count.Provisional++
		g.lookLocked() // it may be back already
	}
	return done, nil
}

// split divides refs by where their sessions are: in the main store, in the spare one, or between the two.
func (g *Guard) split(refs []Ref) (main, spare, moving []Ref) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ref := range refs {
		switch between, yes := g.provisional[ref.ID]; {
		case !yes:
			main = append(main, ref)
		case between:
			moving = append(moving, ref)
		default:
			spare = append(spare, ref)
		}
	}
	return main, spare, moving
}

// remember keeps ends of connections until the main store can hear of them.
func (g *Guard) remember(refs []Ref) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ref := range refs {
		if _, known := g.ended[ref.ID]; !known && len(g.ended) >= maxEnded {
			g.count.DetachLost++
			continue
		}
		g.ended[ref.ID] = ref
	}
	g.lookLocked()
}

// Detach is Store's. Without the main store it remembers the ends.
func (g *Guard) Detach(ctx context.Context, refs []Ref) error {
	main, spare, moving := g.split(refs)
	var err error
	if len(moving) > 0 {
		g.remember(moving)
	}
	if len(spare) > 0 {
		err = g.spare.Detach(ctx, spare)
	}
	if len(main) == 0 {
		return err
	}
	asked, merr := g.ask(ctx, func(ctx context.Context) error { return g.main.Detach(ctx, main) })
	if asked {
		return errors.Join(err, merr)
	}
	g.remember(main)
	return err
}

// Touch is Store's. Without the main store nothing is lost.
func (g *Guard) Touch(ctx context.Context, refs []Ref) (lost []Ref, err error) {
	main, spare, _ := g.split(refs)
	if len(spare) > 0 {
		_, err = g.spare.Touch(ctx, spare)
	}
	if len(main) == 0 {
		return nil, err
	}
	asked, merr := g.ask(ctx, func(ctx context.Context) (err error) {
		lost, err = g.main.Touch(ctx, main)
		return err
	})
	if !asked {
		return nil, err
	}
	return lost, errors.Join(err, merr)
}

// Restore is Store's.
func (g *Guard) Restore(ctx context.Context, list []Saved) (superseded []ID, err error) {
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		superseded, err = g.main.Restore(ctx, list)
		return err
	})
	return superseded, err
}

// Load is Store's: with the writes that are still queued.
func (g *Guard) Load(ctx context.Context, id ID) (values map[string][]byte, err error) {
	if yes, _ := g.isProvisional(id); yes {
		values, err = g.spare.Load(ctx, id)
	} else {
		_, err = g.ask(ctx, func(ctx context.Context) (err error) {
			values, err = g.main.Load(ctx, id)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.queue {
		if d.id != id {
			continue
		}
		for k, v := range d.changes {
			if v == nil {
				delete(values, k)
			} else {
				values[k] = append([]byte{}, v...)
			}
		}
	}
	return values, nil
}

// Save is Store's.
func (g *Guard) Save(ctx context.Context, id ID, changes Changes) error {
	yes, moving := g.isProvisional(id)
	if yes && !moving {
		return g.spare.Save(ctx, id, changes)
	}
	g.mu.Lock()
	behind := len(g.queue) > 0 // it must not overtake
	g.mu.Unlock()
	if !moving && !behind {
		asked, err := g.ask(ctx, func(ctx context.Context) error { return g.main.Save(ctx, id, changes) })
		if asked {
			return err
		}
	}
	return g.put(id, changes)
}

// put queues a write.
func (g *Guard) put(id ID, changes Changes) error {
	if err := checkValues(len(changes)/2, valueBytes(changes)); err != nil {
		return err
	}
	size := len(id) + valueBytes(changes)
	own := make(Changes, len(changes))
	for k, v := range changes {
		if v != nil {
			v = append([]byte{}, v...)
		}
		own[k] = v
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queued+size > g.limit {
		g.count.Refused++
		return unavailable(g.causeLocked())
	}
	g.queue = append(g.queue, deferred{id, own, size})
	g.queued += size
	g.count.Deferred++
	g.lookLocked()
	return ErrDeferred
}

var errQueueFull = errors.New("session: too many writes wait for the store")

func (g *Guard) causeLocked() error {
	if g.cause == nil {
		return errQueueFull
	}
	return errors.Join(errQueueFull, g.cause)
}

// lookLocked makes sure that somebody brings to the main store what waits for it. With g.mu held.
func (g *Guard) lookLocked() {
	if g.state == guardUp && !g.closing {
		g.state, g.since = guardRecovering, time.Now()
		g.tasks.Go(g.recover)
	}
}

// Find is Store's.
func (g *Guard) Find(ctx context.Context, id ID) (s Session, err error) {
	if yes, _ := g.isProvisional(id); yes {
		return g.spare.Find(ctx, id)
	}
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		s, err = g.main.Find(ctx, id)
		return err
	})
	return s, err
}

// List is Store's.
func (g *Guard) List(ctx context.Context, user string) (list []Session, err error) {
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		list, err = g.main.List(ctx, user)
		return err
	})
	return list, err
}

// Drop is Store's.
func (g *Guard) Drop(ctx context.Context, ids ...ID) (dropped []Session, err error) {
	var main, spare []ID
	for _, id := range ids {
		if yes, _ := g.isProvisional(id); yes {
			spare = append(spare, id)
		} else {
			main = append(main, id)
		}
	}
	if len(spare) > 0 {
		if dropped, err = g.spare.Drop(ctx, spare...); err != nil {
			return dropped, err
		}
	}
	if len(main) == 0 {
		return dropped, nil
	}
	_, err = g.ask(ctx, func(ctx context.Context) error {
		more, err := g.main.Drop(ctx, main...)
		dropped = append(dropped, more...)
		return err
	})
	return dropped, err
}

// PutTicket is Store's.
func (g *Guard) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	asked, err := g.ask(ctx, func(ctx context.Context) error { return g.main.PutTicket(ctx, key, value, ttl) })
	if asked || g.require {
		return err
	}
	g.mu.Lock()
	g.tickets = true
	g.mu.Unlock()
	return g.spare.PutTicket(ctx, key, value, ttl)
}

// TakeTicket is Store's. One that was put while the main store was away is found, too.
func (g *Guard) TakeTicket(ctx context.Context, key [32]byte) (value []byte, err error) {
	asked, err := g.ask(ctx, func(ctx context.Context) (err error) {
		value, err = g.main.TakeTicket(ctx, key)
		return err
	})
	g.mu.Lock()
	some := g.tickets
	g.mu.Unlock()
	if asked && (!errors.Is(err, ErrNotFound) || !some) || g.require {
		return value, err
	}
	value, serr := g.spare.TakeTicket(ctx, key)
	if errors.Is(serr, ErrNotFound) {
		return nil, err // it may be in the main store
	}
	return value, serr
}

// probe asks the main store for a write that leaves nothing.
func (g *Guard) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand ends the process instead
	return g.main.PutTicket(ctx, key, nil, time.Second)
}

var _ Store = (*Guard)(nil)

package storeguard

import (
	"context"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Config configures a Guard. Main and Spare are required.
type Config struct {
	// Main is the store that may become unreachable. Close closes it.
	Main session.Store
	// Spare holds sessions that are created during an outage. Close does not close it.
	Spare session.Store
	// QueueLimit is the largest total size of writes that wait for Main, in bytes. 0 means 1 MiB.
	QueueLimit int
	// Require makes Attach and PutTicket fail during an outage, instead of using Spare.
	Require bool
	// Timeout limits the time of each call. Main gets half of it, so that the rest is left for Spare. 0 means 2 s.
	Timeout time.Duration
	// Log gets a line at the beginning and at the end of each outage. Nil means slog.Default.
	Log *slog.Logger
	// MayLog reports whether a line about a single session may be logged. It must be safe for concurrent use. Nil means
	// always.
	MayLog func() bool
}

// Guard is a session.Store that survives outages of its main store. It is safe for concurrent use. Make one with [New].
type Guard struct {
	main, spare session.Store
	require     bool
	timeout     time.Duration
	log         *slog.Logger
	mayLog      func() bool

	breaker  *breaker
	sessions *spareSessions
	writes   *writeQueue
	ends     *endQueue
	recovery *recovery
}

// Stats counts what a Guard has done. Counters never decrease.
type Stats struct {
	Outages, Probes uint64
	Deferred        uint64 // writes that were queued
	Refused         uint64 // requests for which there was no room, and queued ones that the main store has refused
	Replayed        uint64 // queued writes that are in the main store now
	Provisional     uint64 // sessions that were created in the spare store
	Restored        uint64 // of these, the ones that have moved to the main store
	DetachLost      uint64 // ends of connections that the main store will not learn of
	Waiting         int    // bytes of writes in the queue at present
}

// New returns a Guard that assumes that the main store can be reached.
func New(c Config) *Guard {
	if c.QueueLimit <= 0 {
		c.QueueLimit = 1 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.MayLog == nil {
		c.MayLog = func() bool { return true }
	}
	g := &Guard{
		main: c.Main, spare: c.Spare, require: c.Require, timeout: c.Timeout, log: c.Log, mayLog: c.MayLog,
		sessions: newSpareSessions(), writes: newWriteQueue(c.QueueLimit), ends: newEndQueue(),
	}
	g.recovery = &recovery{guard: g}
	g.breaker = &breaker{timeout: c.Timeout, log: c.Log, recover: g.recovery.start}
	return g
}

// State reports whether there is an outage, since when, and its cause. An outage lasts until the main store has
// received everything that happened meanwhile.
func (g *Guard) State() (down bool, since time.Time, cause error) { return g.breaker.current() }

// Stats returns a snapshot.
func (g *Guard) Stats() Stats {
	var s Stats
	g.breaker.addTo(&s)
	g.sessions.addTo(&s)
	g.writes.addTo(&s)
	g.ends.addTo(&s)
	return s
}

// settlePause is the time between two looks at the queue by Settle.
const settlePause = 20 * time.Millisecond

// Settle blocks until no writes wait for the main store, or until ctx ends. It does not wait for the ends of
// connections: if the main store never learns of one, that session counts as connected until it expires.
func (g *Guard) Settle(ctx context.Context) {
	tick := time.NewTicker(settlePause)
	defer tick.Stop()
	for g.writes.len() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends the recovery and closes the main store. Writes and ends that still wait are lost.
func (g *Guard) Close() error {
	writes, ends := g.writes.len(), g.ends.len()
	if first := g.recovery.stop(); first && writes+ends > 0 {
		g.log.Warn("the session store was not back in time", "writes_lost", writes, "ends_lost", ends)
	}
	return g.main.Close()
}

// Carry returns what the Guard of another worker must know of a session whose connection moves there: whether the
// session is in the spare store, and the writes that wait. It returns nil if the main store has everything. This Guard
// stays responsible until Released is called.
func (g *Guard) Carry(id session.ID) []byte {
	spare, writes := g.sessions.has(id), g.writes.carry(id)
	if !spare && len(writes) == 0 {
		return nil
	}
	return appendCarried(nil, spare, writes)
}

// Released forgets what Carry has returned: the other Guard is responsible from now on.
func (g *Guard) Released(id session.ID) {
	g.sessions.release(id)
	g.writes.release(id)
}

// Adopt makes this Guard responsible for what another Guard's Carry has returned. The place is that of the connection
// here. Adopt ignores the limit of the queue, as the writers were promised that their writes are not lost.
func (g *Guard) Adopt(id session.ID, place session.Place, carried []byte) error {
	spare, writes, err := parseCarried(carried)
	if err != nil {
		return err
	}
	if spare {
		g.sessions.adopt(id, place)
	}
	for _, changes := range writes {
		g.writes.adopt(id, changes)
	}
	g.breaker.ensureRecovery()
	return nil
}

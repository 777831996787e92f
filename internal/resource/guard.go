package resource

import (
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// guardEvery is how often a MemoryGuard reads how much memory is left, and guardSoon how often while it is less than
	// guardNear reserves: ten thousand clients that come back within a second, at 15 KiB each, take twice the smallest
	// reserve.
	guardEvery = time.Second
	guardSoon  = 100 * time.Millisecond
	guardNear  = 4
)

// GuardConfig configures a MemoryGuard.
type GuardConfig struct {
	// Reserve is the memory that must be left, in bytes. 0 is none: there is no guard.
	Reserve int64
	// SetShort is told when memory becomes short, and when it no longer is.
	SetShort func(short bool)
	// Shed closes connections that hold the most, until they have freed need bytes, and tells how many they did. It
	// reports false if it does not. Nil closes none.
	Shed func(need int64, done func(freed int64)) bool
	// Workers is the number of processes that share the memory. Each has a guard.
	Workers int
	// Idle reports that nothing happens in this process: the guard rests until Wake. Nil is never.
	Idle func() bool
	Log  *slog.Logger
}

// MemoryGuard refuses new connections while memory is short, so that nothing is killed that is connected, and closes
// connections that hold much. A nil MemoryGuard does nothing.
type MemoryGuard struct {
	GuardConfig
	read  func() (Memory, error)
	short bool
	wake  chan struct{}
	quit  chan struct{}
	ended chan struct{}
}

// NewMemoryGuard returns a MemoryGuard; nil if there is no reserve, or if this system does not tell how much memory is
// left.
func NewMemoryGuard(c GuardConfig) *MemoryGuard {
	read := func() (Memory, error) { return ReadMemory("") }
	if _, err := read(); err != nil || c.Reserve == 0 {
		return nil
	}
	c.Workers = max(c.Workers, 1)
	return &MemoryGuard{
		GuardConfig: c, read: read,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Run guards the memory until Stop. It is called once.
func (g *MemoryGuard) Run() {
	if g == nil {
		return
	}
	defer close(g.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-g.wake:
		case <-g.quit:
			return
		}
		next := g.check()
		if !g.short && g.Idle != nil && g.Idle() {
			timer.Stop() // until Wake
			continue
		}
		timer.Reset(next)
	}
}

// Wake makes the guard check at once: something happens again, or the process is awake anyway.
func (g *MemoryGuard) Wake() {
	if g == nil {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Stop ends Run, which must have been called, and waits for it.
func (g *MemoryGuard) Stop() {
	if g == nil {
		return
	}
	close(g.quit)
	<-g.ended
}

// check compares what is left with the reserve, and returns when to check again. Memory is short until a quarter more
// than the reserve is left: the connections that come then would make it short again at once otherwise.
func (g *MemoryGuard) check() (next time.Duration) {
	u, err := g.read()
	if err != nil {
		return guardEvery // it could be read before: what was found then still counts
	}
	next = guardEvery
	if u.Available < guardNear*g.Reserve {
		next = guardSoon
	}
	enough := g.Reserve + g.Reserve/4
	short := u.Available < g.Reserve
	if g.short {
		short = u.Available < enough
	}
	if short {
		g.relieve(enough - u.Available)
	}
	if short == g.short {
		return next
	}
	g.short = short
	g.SetShort(short)
	log := g.Log.With(
		"available_bytes", u.Available, "of", u.AvailableOf, "reserve_bytes", g.Reserve, "limit_bytes", u.Limit,
	)
	if short {
		log.Warn("memory is short: new connections are refused")
	} else {
		log.Info("memory is no longer short: new connections are admitted")
	}
	return next
}

// relieve closes connections that hold much until this worker's share of what is missing is free, and gives that back
// to the system. The guards of the other workers see at their next check what is still missing.
func (g *MemoryGuard) relieve(missing int64) {
	if g.Shed == nil {
		return
	}
	freed := make(chan int64, 1)
	if !g.Shed(missing/int64(g.Workers)+1, func(n int64) { freed <- n }) {
		return
	}
	select {
	case n := <-freed:
		if n == 0 {
			return
		}
		g.Log.Warn("memory is short: connections that hold the most are closed", "freed_bytes", n)
		if n >= trimLeast {
			debug.FreeOSMemory() // the next check would not see it otherwise
		}
	case <-g.quit:
	}
}

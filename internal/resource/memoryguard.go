package resource

import (
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// guardEvery is the interval between two checks of a MemoryGuard.
	guardEvery = time.Second
	// guardSoon is the interval while less than guardNear reserves are available. Ten thousand clients that reconnect
	// within one second need 15 KiB each, which is more than twice the smallest default reserve.
	guardSoon = 100 * time.Millisecond
	guardNear = 4
)

// GuardConfig configures a MemoryGuard. Run calls its functions on its own goroutine.
type GuardConfig struct {
	// Reserve is how many bytes of memory must remain available. If it is 0, there is no guard.
	Reserve int64
	// SetShort is called with true when memory becomes short, and with false when it no longer is.
	SetShort func(short bool)
	// Shed closes the connections that hold the most memory until they have freed need bytes. It reports whether it
	// does so; if it does, it calls done once, on any goroutine, with the number of bytes freed. If it is nil, no
	// connection is closed.
	Shed func(need int64, done func(freed int64)) bool
	// Workers is the number of processes that share the memory. Each of them must have a guard, which frees its share of
	// the missing memory. 0 is 1.
	Workers int
	// Idle reports whether the process is idle. The guard of an idle process checks only when Wake is called. If it is
	// nil, the process is never idle.
	Idle func() bool
	Log  *slog.Logger
}

// MemoryGuard protects the open connections of a process from the kernel's out-of-memory killer. While less memory is
// available than the reserve, it refuses new connections and closes those that hold the most memory. A nil MemoryGuard
// does nothing. Wake is safe for concurrent use.
type MemoryGuard struct {
	config GuardConfig
	read   func() (Memory, error)
	short  bool
	wake   chan struct{}
	quit   chan struct{}
	ended  chan struct{}
}

// NewMemoryGuard returns a MemoryGuard. It returns nil if there is no reserve, or if the available memory cannot be
// read on this system.
func NewMemoryGuard(c GuardConfig) *MemoryGuard {
	if c.Reserve == 0 {
		return nil
	}
	read := func() (Memory, error) { return ReadMemory("") }
	if _, err := read(); err != nil {
		return nil
	}
	c.Workers = max(c.Workers, 1)
	return &MemoryGuard{
		config: c, read: read,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Run checks the memory at once and then regularly, until Stop. It must be called once, before Stop.
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
		if !g.short && g.config.Idle != nil && g.config.Idle() {
			timer.Stop() // until Wake
			continue
		}
		timer.Reset(next)
	}
}

// Wake makes the guard check at once. It is called when an idle process becomes active, and now and then while it is
// idle: other processes may use up the memory.
func (g *MemoryGuard) Wake() {
	if g == nil {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Stop ends Run and blocks until it has returned.
func (g *MemoryGuard) Stop() {
	if g == nil {
		return
	}
	close(g.quit)
	<-g.ended
}

// check compares the available memory with the reserve and returns the time until the next check. Memory that is short
// remains so until the reserve and a quarter of it are available. Otherwise, the first connections that are admitted
// would make it short again.
func (g *MemoryGuard) check() (next time.Duration) {
	reserve := g.config.Reserve
	m, err := g.read()
	if err != nil {
		return guardEvery // reading has worked before, so the previous result is kept
	}
	next = guardEvery
	if m.Available < guardNear*reserve {
		next = guardSoon
	}
	enough := reserve + reserve/4
	short := m.Available < reserve
	if g.short {
		short = m.Available < enough
	}
	if short {
		g.relieve(enough - m.Available)
	}
	if short == g.short {
		return next
	}
	g.short = short
	g.config.SetShort(short)
	log := g.config.Log.With(
		"available_bytes", m.Available, "of", m.AvailableOf, "reserve_bytes", reserve, "limit_bytes", m.Limit,
	)
	if short {
		log.Warn("memory is short: new connections are refused")
	} else {
		log.Info("memory is no longer short: new connections are admitted")
	}
	return next
}

// relieve sheds connections until this process has freed its share of the missing bytes, and returns that memory to the
// operating system. If the other processes free less than their share, the next check finds what is still missing.
func (g *MemoryGuard) relieve(missing int64) {
	if g.config.Shed == nil {
		return
	}
	freed := make(chan int64, 1) // done must not block if Stop ends the wait
	if !g.config.Shed(missing/int64(g.config.Workers)+1, func(n int64) { freed <- n }) {
		return
	}
	select {
	case n := <-freed:
		if n == 0 {
			return
		}
		g.config.Log.Warn("memory is short: connections that hold the most are closed", "freed_bytes", n)
		if n >= trimLeast {
			debug.FreeOSMemory() // the next check does not see freed memory that the runtime keeps
		}
	case <-g.quit:
	}
}

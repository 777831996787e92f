package reactor

import "time"

// Defaults of Options.
const (
	DefaultTick       = 100 * time.Millisecond
	DefaultReadBuffer = 256 << 10
	DefaultMaxEvents  = 256
	// DefaultRawWait is the maximum, and not below the kernel's tick: a timeout shorter than the tick makes each wait
	// program the clock hardware, which cost 6 of 20 microseconds per message on a virtual machine at 20,000 messages a
	// second (BenchmarkEcho, light).
	DefaultRawWait = 4 * time.Millisecond
)

// wheelSlots gives a revolution of 51 s with DefaultTick, which is longer than most deadlines.
const wheelSlots = 512

// Wait is how a loop waits for events.
type Wait uint8

// The ways to wait. They differ only on Linux.
const (
	// WaitHybrid first waits without informing Go's scheduler, for at most Options.RawWait, and then visibly. A busy
	// loop does not have to release and reacquire its processor, and an idle process sleeps. With GOMAXPROCS of 1,
	// a busy loop waits as with WaitParked, because other goroutines need the processor.
	WaitHybrid Wait = iota
	// WaitVisible always lets the scheduler give the loop's processor to others.
	WaitVisible
	// WaitParked waits in Go's own poller, together with all goroutines that wait for the network, so that one thread
	// runs the loop and them by turns.
	WaitParked
	// WaitRaw never does. It requires GOMAXPROCS above the number of loops.
	WaitRaw
)

// Options configures a loop. The zero value is right for servers.
type Options struct {
	// Tick is the granularity of deadlines. 0 means DefaultTick.
	Tick time.Duration
	// ReadBuffer is the length of Loop.Buffer in bytes. 0 means DefaultReadBuffer.
	ReadBuffer int
	// MaxEvents is the maximum number of events taken from the kernel per turn. 0 means DefaultMaxEvents.
	MaxEvents int
	// Wait is how the loop waits.
	Wait Wait
	// RawWait is how long WaitHybrid waits without informing the scheduler. 0 means DefaultRawWait. It is rounded down
	// to whole milliseconds, but at least one.
	RawWait time.Duration
	// Portable disables the platform's poller: each socket is a pump with its own goroutines, as on platforms without a
	// poller.
	Portable bool
}

func (o Options) withDefaults() Options {
	o.Portable = o.Portable || onlyPumps
	if o.Tick <= 0 {
		o.Tick = DefaultTick
	}
	if o.ReadBuffer <= 0 {
		o.ReadBuffer = DefaultReadBuffer
	}
	if o.MaxEvents <= 0 {
		o.MaxEvents = DefaultMaxEvents
	}
	if o.RawWait <= 0 {
		o.RawWait = DefaultRawWait
	}
	o.RawWait = max(o.RawWait.Truncate(time.Millisecond), time.Millisecond)
	return o
}

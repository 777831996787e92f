package reactor

import "time"

// Defaults of Options.
const (
	DefaultTick       = 100 * time.Millisecond
	DefaultReadBuffer = 256 << 10
	DefaultMaxEvents  = 256
	// DefaultRawWait is as long as it may be, and not shorter than the tick of the kernel: a timeout that ends before
	// the tick makes each wait program the clock's hardware, which cost 6 of 20 microseconds per message on a virtual
	// machine at 20,000 messages a second (BenchmarkEcho, light).
	DefaultRawWait = 4 * time.Millisecond
)

// wheelSlots makes a revolution of 51 s with DefaultTick: longer than most deadlines are away.
const wheelSlots = 512

// Wait is how a loop waits for events.
type Wait uint8

// The ways to wait. Only Linux tells them apart.
const (
	// WaitHybrid waits without telling Go's scheduler for at most Options.RawWait, and then visibly: a busy loop does
	// not pay for the hand-over of its processor, and an idle process sleeps. With GOMAXPROCS of 1, where there is
	// nobody to hand over to, it is WaitVisible.
	WaitHybrid Wait = iota
	// WaitVisible always lets the scheduler give the loop's processor away.
	WaitVisible
	// WaitRaw never does. It wants GOMAXPROCS above the number of loops.
	WaitRaw
)

// Options tunes a loop. The zero value is right for servers.
type Options struct {
	// Tick is the grain of deadlines; 0 is DefaultTick.
	Tick time.Duration
	// ReadBuffer is the length of Loop.Buffer in bytes; 0 is DefaultReadBuffer.
	ReadBuffer int
	// MaxEvents is the number of events taken from the kernel in a turn; 0 is DefaultMaxEvents.
	MaxEvents int
	// Wait is how the loop waits.
	Wait Wait
	// RawWait is how long WaitHybrid waits unseen by the scheduler; 0 is DefaultRawWait, and it counts in whole
	// milliseconds, at least one.
	RawWait time.Duration
	// Portable does without the platform's poller: each socket is a pump with goroutines of its own, as on platforms
	// that have no other way.
	Portable bool
}

func (o Options) withDefaults() Options {
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

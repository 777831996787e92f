package reactor

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/expedite-go/expedite/internal/wheel"
)

// Loop is an event loop. New makes one, Run turns it. Methods are for the loop's goroutine, or for any goroutine before
// Run and after it, unless they say otherwise.
type Loop struct {
	handler Handler
	opt     Options
	poller  poller
	buffer  []byte
	now     int64
	planned int64 // when the turn should begin at the latest; 0 is any time
	woke    int64 // see Woke
	full    int64 // since when each batch of events is full; 0 is not

	keys      keys
	wheel     *wheel.Wheel
	again     []readiness // for the next turn
	due       line[readiness]
	duePumps  line[*pump]
	duePosts  line[func()]
	inTurn    bool // a turn has begun and not ended
	events    int  // of the poller in this turn
	told      int  // how many of them have been handled
	listeners []*listener
	alarms    []*Alarm
	retries   int // listeners that wait for retryAt
	acceptOff bool

	posts inbox[func()]
	ready inbox[*pump]

	state    atomic.Uint32 // awake, asleep or noted
	running  atomic.Bool
	stopped  atomic.Bool
	runnable atomic.Bool
	lastGo   int64 // when the loop last let other goroutines run
	lonely   bool  // GOMAXPROCS is 1
	hot      bool  // the last wait ended with an event, and soon

	count counters
}

// States of a loop, as far as Wake is concerned.
const (
	stateAwake  uint32 = iota // in Flush, or about to sleep: a wake must be noted
	stateAsleep               // a wake must end the wait
	stateNoted                // a Flush is still to come in any case
)

// bufferOffset is where Buffer begins after the start of a page: the payload of a large frame that was read from its
// start lands on a cache line and off the page's start, which made reads of 64 KiB about a sixth cheaper.
const bufferOffset = 1024 + 50

const pageSize = 4096

// New makes a loop that tells h what happens. It holds descriptors until Run returns.
func New(h Handler, o Options) (*Loop, error) {
	o = o.withDefaults()
	p, err := newPoller(o)
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", err)
	}
	l := &Loop{handler: h, opt: o, poller: p, buffer: alignedBuffer(o.ReadBuffer), now: Monotonic()}
	l.wheel = wheel.New(o.Tick, wheelSlots, l.now)
	return l, nil
}

// alignedBuffer makes a buffer that begins bufferOffset after a page does.
func alignedBuffer(size int) []byte {
	b := make([]byte, size+2*pageSize)
	start := (pageSize - int(uintptr(unsafe.Pointer(&b[0]))%pageSize)) % pageSize
	start += bufferOffset
	return b[start : start+size : start+size]
}

// Run turns the loop until Stop, then runs what was posted before, calls Flush once more and frees what the loop itself
// holds: its poller and its duplicates of listeners. Sockets that are still on it stay open and are the caller's. Run
// can be called once, and again after the handler has ended the goroutine by runtime.Goexit: it then goes on where that
// was.
func (l *Loop) Run() error {
	if !l.running.CompareAndSwap(false, true) {
		return errors.New("reactor: Run was called before")
	}
	returned := false
	defer func() { l.running.Store(returned) }()
	err := l.run()
	returned = true
	return err
}

func (l *Loop) run() error {
	l.look()
	var err error
	for err == nil && !l.stopped.Load() {
		err = l.turn()
	}
	l.Stop()
	l.runPosts()
	l.handler.Flush()
	for _, ln := range l.listeners {
		if ln != nil {
			ln.stop()
		}
	}
	return errors.Join(err, l.poller.close())
}

// Stop ends the loop after its present turn. It does not wait for that. Any goroutine.
func (l *Loop) Stop() {
	l.stopped.Store(true)
	l.posts.close()
	l.Wake()
}

// Post runs f on the loop, after what was posted before. It reports false after Stop: then f will not run. What was
// posted before Stop runs, if Run is called at all. Any goroutine.
func (l *Loop) Post(f func()) bool {
	if !l.posts.put(f) {
		return false
	}
	l.Wake()
	return true
}

// Wake makes sure that a Flush begins after this call. It costs one atomic load while the loop is before its Flush, and
// one system call if it sleeps. Any goroutine.
func (l *Loop) Wake() {
	if l.state.Load() == stateNoted {
		return
	}
	if l.state.Swap(stateNoted) == stateAsleep {
		l.poller.wake()
	}
}

// Runnable says that a goroutine was started which the loop should not keep waiting. Any goroutine.
func (l *Loop) Runnable() {
	if !l.runnable.Load() {
		l.runnable.Store(true)
	}
}

// Now is the time of this turn on the clock of Monotonic.
func (l *Loop) Now() int64 { return l.now }

// Buffer is the loop's read buffer. It is whoever's turn it is: its content lasts until the handler returns.
func (l *Loop) Buffer() []byte { return l.buffer }

// Again calls Ready with ev for k in the next turn, which will not be waited for: for a handler that leaves a busy
// socket to let others have their share.
func (l *Loop) Again(k Key, ev Events) {
	l.again = append(l.again, readiness{key: k, ev: ev})
}

// SetDeadline calls Timeout for k once when the clock of Now has reached at, and at most Options.Tick later. It
// replaces the deadline that k had.
func (l *Loop) SetDeadline(k Key, at int64) {
	if l.keys.has(k) {
		l.wheel.Set(k.Index, at)
	}
}

// ClearDeadline takes the deadline of k away.
func (l *Loop) ClearDeadline(k Key) {
	if l.keys.has(k) {
		l.wheel.Clear(k.Index)
	}
}

// Remove takes k off the loop. The socket stays open and is the caller's, who closes it with Socket.Close. Nothing is
// told about k any more.
func (l *Loop) Remove(k Key) error {
	if !l.keys.has(k) {
		return ErrClosed
	}
	l.wheel.Clear(k.Index)
	l.count.sockets.Add(-1)
	if fd := l.keys.give(k); fd >= 0 {
		return l.poller.remove(fd)
	}
	return nil
}

// Close takes k off the loop and closes its socket s. It does nothing if k is not on the loop.
func (l *Loop) Close(k Key, s Socket) {
	if !l.keys.has(k) {
		return
	}
	_ = l.Remove(k)
	_ = s.Close()
}

// admit gives a socket an index.
func (l *Loop) admit(fd int) (Key, error) {
	k, ok := l.keys.take(fd)
	if !ok {
		return Key{}, ErrFull
	}
	l.count.sockets.Add(1)
	return k, nil
}

// turn waits for something to do and does it.
func (l *Loop) turn() error {
	if !l.inTurn {
		n, err := l.wait()
		l.state.Store(stateNoted)
		if err != nil {
			return err
		}
		l.inTurn, l.events, l.told = true, n, 0
		if l.count.turns.Add(1)%lookEvery == 0 {
			l.look()
		}
	}
	l.note(Monotonic())
	for l.told < l.events {
		l.told++
		l.dispatch(l.poller.event(l.told - 1))
	}
	l.deliverAgain()
	l.deliverPumps()
	l.runPosts()
	if l.retries > 0 {
		l.retryListeners()
	}
	if l.timersMay() {
		l.wheel.Advance(l.now, l.timeout)
	}
	l.ring()
	l.state.Store(stateAwake)
	l.handler.Flush()
	l.inTurn = false
	end := Monotonic()
	l.planned = end
	l.count.turned(end - l.now)
	return nil
}

func (l *Loop) dispatch(r readiness) {
	switch i := r.key.Index; {
	case i < listenerIndex:
		l.tell(r)
	case i == wakeIndex:
		l.count.wakeups.Add(1)
	default:
		if ln := l.listeners[i-listenerIndex]; ln != nil {
			ln.back.ready()
		}
	}
}

// tell passes an event on, unless its socket has left.
func (l *Loop) tell(r readiness) {
	if l.keys.has(r.key) {
		l.handler.Ready(r.key, r.ev)
	}
}

func (l *Loop) deliverAgain() {
	if l.due.ended() {
		if len(l.again) == 0 {
			return
		}
		l.due.list, l.again = l.again, l.due.list[:0]
		l.due.at = 0
	}
	for !l.due.ended() {
		l.tell(l.due.next())
	}
}

func (l *Loop) deliverPumps() {
	if l.duePumps.ended() {
		l.duePumps = line[*pump]{list: l.ready.take()}
	}
	for !l.duePumps.ended() {
		p := l.duePumps.next()
		l.tell(readiness{key: p.key, ev: p.take()})
	}
	l.ready.recycle(l.duePumps.list)
	l.duePumps = line[*pump]{}
}

func (l *Loop) runPosts() {
	if l.duePosts.ended() {
		l.duePosts = line[func()]{list: l.posts.take()}
	}
	for !l.duePosts.ended() {
		l.duePosts.next()()
	}
	l.posts.recycle(l.duePosts.list)
	l.duePosts = line[func()]{}
}

// line is a list whose entries have their turn one after the other. It remembers how far that has come, should one of
// them end the goroutine.
type line[T any] struct {
	list []T
	at   int
}

func (l *line[T]) ended() bool { return l.at == len(l.list) }

func (l *line[T]) next() T {
	l.at++
	return l.list[l.at-1]
}

func (l *Loop) timeout(i uint32) { l.handler.Timeout(l.keys.at(i)) }

// timeLeft is the number of nanoseconds until a timeout may be due; -1 is never.
func (l *Loop) timeLeft() int64 {
	now := Monotonic()
	ns := l.wheel.Wait(now)
	next := int64(math.MaxInt64)
	if at, set := l.firstAlarm(); set {
		next = at
	}
	if l.retries > 0 {
		for _, ln := range l.listeners {
			if ln != nil && ln.retryAt > 0 {
				next = min(next, ln.retryAt)
			}
		}
	}
	if next == math.MaxInt64 {
		return ns
	}
	next = max(next-now, 0)
	if ns < 0 {
		return next
	}
	return min(ns, next)
}

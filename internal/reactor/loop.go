package reactor

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/expedite-go/expedite/internal/tlsrecord"
	"github.com/expedite-go/expedite/internal/wheel"
)

// Loop is an event loop. New returns one, and Run runs it. Unless they say otherwise, methods must be called on the
// loop's goroutine, before Run, or after Run has returned.
type Loop struct {
	handler Handler
	opt     Options
	poller  poller
	buffer  []byte
	opened  []byte    // the buffer of sealed sockets for reading; nil before the first
	sealing sync.Pool // their buffers for writing: *[]byte
	warmth  *warmth
	shaking map[uint32]*shakeConn // by the indexes of their sockets
	shakers shakers
	now     int64
	planned int64 // latest time of the next note; 0 means any time
	woke    int64 // see Woke
	full    int64 // since when each batch of events has been full; 0 if it is not

	keys      keys
	wheel     *wheel.Wheel
	again     []readiness // for the next turn
	due       queue[readiness]
	duePumps  queue[*pump]
	duePosts  queue[func()]
	inTurn    bool // a turn has begun and not ended
	events    int  // number of events from the poller in this turn
	handled   int  // how many of them were handled
	listeners []*Listener
	alarms    []*Alarm
	retries   int // number of listeners that wait for retryAt
	acceptOff bool

	posts inbox[func()]
	ready inbox[*pump]

	state    atomic.Uint32 // one of the states below
	running  atomic.Bool
	stopped  atomic.Bool
	runnable atomic.Bool
	lastGo   int64 // when the loop last let other goroutines run
	oneProc  bool  // GOMAXPROCS is 1
	hot      bool  // the last wait ended soon, with an event

	count counters
}

// The states of a loop for Wake.
const (
	stateAwake  uint32 = iota // in Flush, or about to sleep: a wake must be recorded
	stateAsleep               // a wake must end the wait
	stateNoted                // a Flush will follow in any case
)

// bufferOffset is where Buffer begins after the start of a page. The payload of a large frame at its start is then
// aligned to a cache line but not to the page, which made reads of 64 KiB about a sixth cheaper.
const bufferOffset = 1024 + 50

const pageSize = 4096

// New returns a loop whose events h handles. It holds descriptors until Run returns.
func New(h Handler, o Options) (*Loop, error) {
	o = o.withDefaults()
	p, err := newPoller(o)
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", err)
	}
	l := &Loop{handler: h, opt: o, poller: p, buffer: alignedBuffer(o.ReadBuffer), now: Monotonic()}
	l.wheel = wheel.New(o.Tick, wheelSlots, l.now)
	l.warmth, l.shaking = newWarmth(l), make(map[uint32]*shakeConn)
	l.shakers.next = make(chan *pump)
	return l, nil
}

// alignedBuffer returns a buffer that begins bufferOffset bytes after the start of a page.
func alignedBuffer(size int) []byte {
	b := make([]byte, size+2*pageSize)
	start := (pageSize - int(uintptr(unsafe.Pointer(&b[0]))%pageSize)) % pageSize
	start += bufferOffset
	return b[start : start+size : start+size]
}

// Run runs the loop until Stop. Then it runs what was posted before, calls Flush once more, and frees the loop's poller
// and its duplicates of listeners. Sockets on the loop stay open and belong to the caller. Run can be called once, and
// again if the handler has ended the goroutine with runtime.Goexit: it then continues where it stopped.
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
	l.countProcs()
	var err error
	for err == nil && !l.stopped.Load() {
		err = l.turn()
	}
	l.Stop()
	l.runPosts()
	l.handler.Flush()
	for _, ln := range l.listeners {
		if ln != nil {
			ln.Stop()
		}
	}
	return errors.Join(err, l.poller.close())
}

// Stop ends the loop after the current turn. It does not wait for that. It is safe for concurrent use.
func (l *Loop) Stop() {
	l.stopped.Store(true)
	l.posts.close()
	l.Wake()
}

// Post runs f on the loop, after what was posted before. After Stop it reports false and f does not run. What was
// posted before Stop runs if Run is called at all. It is safe for concurrent use.
func (l *Loop) Post(f func()) bool {
	if !l.posts.put(f) {
		return false
	}
	l.Wake()
	return true
}

// Wake ensures that a Flush begins after this call. It costs an atomic load if the loop is before its Flush, and a
// system call if the loop sleeps. It is safe for concurrent use.
func (l *Loop) Wake() {
	if l.state.Load() == stateNoted {
		return
	}
	if l.state.Swap(stateNoted) == stateAsleep {
		l.poller.wake()
	}
}

// Runnable must be called after starting a goroutine that the loop should not keep waiting. It is safe for concurrent
// use.
func (l *Loop) Runnable() {
	if !l.runnable.Load() {
		l.runnable.Store(true)
	}
}

// Now returns the time of this turn on the clock of Monotonic.
func (l *Loop) Now() int64 { return l.now }

// Buffer returns the loop's read buffer. Its content is valid until the handler returns.
func (l *Loop) Buffer() []byte { return l.buffer }

// sealedBuffer returns a buffer for the records of a sealed socket. Every socket uses the same one.
func (l *Loop) sealedBuffer() []byte {
	if l.opened == nil {
		l.opened = make([]byte, sealedRead+tlsrecord.MaxRecord)
	}
	return l.opened
}

// takeSealed returns a buffer for one record. It is safe for concurrent use, and so is giveSealed, which takes it back.
func (l *Loop) takeSealed() *[]byte {
	if b, ok := l.sealing.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, sealedBuffer)
	return &b
}

func (l *Loop) giveSealed(b *[]byte) { l.sealing.Put(b) }

// Again calls Ready with ev for k in the next turn, which begins without waiting. It is for a handler that leaves a
// busy socket to let others have their share.
func (l *Loop) Again(k Key, ev Events) {
	l.again = append(l.again, readiness{key: k, ev: ev})
}

// SetDeadline calls Timeout for k once when the clock of Now has reached at, or up to Options.Tick later. It replaces
// the previous deadline of k.
func (l *Loop) SetDeadline(k Key, at int64) {
	if l.keys.has(k) {
		l.wheel.Set(k.Index, at)
	}
}

// ClearDeadline removes the deadline of k.
func (l *Loop) ClearDeadline(k Key) {
	if l.keys.has(k) {
		l.wheel.Clear(k.Index)
	}
}

// Remove takes k off the loop, after which there are no events for k. The socket stays open and belongs to the caller,
// who must close it with Socket.Close.
func (l *Loop) Remove(k Key) error {
	if !l.keys.has(k) {
		return ErrClosed
	}
	l.wheel.Clear(k.Index)
	l.count.sockets.Add(-1)
	if c := l.shakeOf(k); c != nil {
		delete(l.shaking, k.Index)
		c.leave()
	}
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

// admit allocates an index for a socket.
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
		l.inTurn, l.events, l.handled = true, n, 0
		if l.count.turns.Add(1)%countProcsEvery == 0 {
			l.countProcs()
		}
	}
	l.now = Monotonic()
	l.note(l.now, l.now)
	for l.handled < l.events {
		l.handled++
		l.dispatch(l.poller.event(l.handled - 1))
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
	l.note(end, end)
	l.count.turned(end - l.now)
	return nil
}

func (l *Loop) dispatch(r readiness) {
	switch i := r.key.Index; {
	case i < listenerIndex:
		if c := l.shakeOf(r.key); c != nil {
			l.Runnable()
			c.ready(r.ev)
			return
		}
		l.deliver(r)
	case i == wakeIndex:
		l.count.wakeups.Add(1)
	default:
		if ln := l.listeners[i-listenerIndex]; ln != nil {
			ln.back.ready()
		}
	}
}

// deliver calls Ready, unless the socket has left the loop.
func (l *Loop) deliver(r readiness) {
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
		l.deliver(l.due.next())
	}
}

func (l *Loop) deliverPumps() {
	if l.duePumps.ended() {
		l.duePumps = queue[*pump]{list: l.ready.take()}
	}
	for !l.duePumps.ended() {
		p := l.duePumps.next()
		l.deliver(readiness{key: p.key, ev: p.take()})
	}
	l.ready.recycle(l.duePumps.list)
	l.duePumps = queue[*pump]{}
}

func (l *Loop) runPosts() {
	if l.duePosts.ended() {
		l.duePosts = queue[func()]{list: l.posts.take()}
	}
	for !l.duePosts.ended() {
		l.duePosts.next()()
	}
	l.posts.recycle(l.duePosts.list)
	l.duePosts = queue[func()]{}
}

// queue is a list that is processed entry by entry. It remembers its position in case an entry ends the goroutine.
type queue[T any] struct {
	list []T
	at   int
}

func (q *queue[T]) ended() bool { return q.at == len(q.list) }

func (q *queue[T]) next() T {
	q.at++
	return q.list[q.at-1]
}

func (l *Loop) timeout(i uint32) { l.handler.Timeout(l.keys.at(i)) }

// timeLeft returns the number of nanoseconds until a timeout may be due, or -1 if there is none.
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

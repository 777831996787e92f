package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	echoEvery = 10 * time.Millisecond // interval between messages per connection
	echoAnd   = 5 * time.Second       // how long stop waits for the last replies
)

// echoer sends on its connections at a steady rate, without waiting for replies, and measures the round-trip times.
type echoer struct {
	*load
	timer int
	sent  [][]time.Time // send times of messages in flight, by connection
	next  int           // the connection that sends next
	times []roundTrip

	stopping atomic.Bool
	done     chan error
}

// roundTrip is the round-trip time of one message.
type roundTrip struct {
	at   time.Time // send time
	took time.Duration
}

// newEchoer starts an echoer. It takes over the connections of l.
func newEchoer(l *load) (*echoer, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	e := &echoer{load: l, timer: timer, sent: make([][]time.Time, len(l.conns)), done: make(chan error, 1)}
	pace := unix.NsecToTimespec(int64(echoEvery) / int64(len(l.conns)))
	if err := unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Interval: pace, Value: pace}, nil); err != nil {
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, timer, &ev); err != nil {
		return nil, err
	}
	go func() { e.done <- e.loop() }() // ends with stop
	return e, nil
}

// stop waits for the outstanding replies. The times may be read after it returns.
func (e *echoer) stop() error {
	e.stopping.Store(true)
	err := <-e.done
	_ = unix.Close(e.timer)
	return err
}

func (e *echoer) loop() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var end time.Time
	for {
		n, err := unix.EpollWait(e.epoll, e.events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		now := time.Now()
		for _, ev := range e.events[:max(n, 0)] {
			if ev.Fd < 0 {
				err = e.tick()
			} else {
				err = e.receive(int(ev.Fd), now)
			}
			if err != nil {
				return err
			}
		}
		switch missing := e.missing(); {
		case !e.stopping.Load():
		case missing == 0:
			return nil
		case end.IsZero():
			end = now.Add(echoAnd)
		case now.After(end):
			return fmt.Errorf("%d echoes still missing after %v", missing, echoAnd)
		}
	}
}

// tick sends the messages that are due.
func (e *echoer) tick() error {
	var b [8]byte
	if _, err := unix.Read(e.timer, b[:]); err != nil {
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		return err
	}
	if e.stopping.Load() {
		return nil
	}
	for range binary.NativeEndian.Uint64(b[:]) {
		c := e.next
		e.next = (c + 1) % len(e.conns)
		e.sent[c] = append(e.sent[c], time.Now())
		if err := e.send(&e.conns[c], 1); err != nil {
			return fmt.Errorf("echo connection %d: %w", c, err)
		}
	}
	return nil
}

func (e *echoer) receive(number int, now time.Time) error {
	c := &e.conns[number]
	b, err := c.read(e.buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("echo connection %d ended: %w", number, err)
	}
	whole := (c.begun + len(b)) / replyLen
	c.begun = (c.begun + len(b)) % replyLen
	if whole > len(e.sent[number]) {
		return fmt.Errorf("echo connection %d: more replies than messages", number)
	}
	for _, at := range e.sent[number][:whole] {
		e.times = append(e.times, roundTrip{at, now.Sub(at)})
	}
	e.sent[number] = slices.Delete(e.sent[number], 0, whole)
	return nil
}

func (e *echoer) missing() (n int) {
	for _, list := range e.sent {
		n += len(list)
	}
	return n
}

// span is a period of time.
type span struct{ from, to time.Time }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

// latency summarizes the messages that were in flight during any of the spans.
func (e *echoer) latency(spans ...span) latency {
	var list []time.Duration
	for _, t := range e.times {
		if slices.ContainsFunc(spans, func(s span) bool { return t.at.Before(s.to) && t.at.Add(t.took).After(s.from) }) {
			list = append(list, t.took)
		}
	}
	slices.Sort(list)
	if len(list) == 0 {
		return latency{}
	}
	return latency{len(list), list[len(list)/2], list[len(list)*99/100], list[len(list)-1]}
}

type latency struct {
	count         int
	p50, p99, max time.Duration
}

// String returns the three figures.
func (l latency) String() string {
	return fmt.Sprintf("p50 %8.3f ms  p99 %8.3f ms  max %8.3f ms  (%d echoes)", ms(l.p50), ms(l.p99), ms(l.max), l.count)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

var _ fmt.Stringer = latency{}

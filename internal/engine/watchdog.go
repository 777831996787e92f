package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// watchdog notices callbacks that hold the loop. The loop pays two atomic additions per callback; a goroutine samples
// the number, and sleeps without a timer while there are no callbacks.
type watchdog struct {
	limit  time.Duration
	log    *slog.Logger
	calls  atomic.Uint64 // odd while a callback runs
	asleep atomic.Bool
	wake   chan struct{}
	stalls atomic.Uint64

	starved time.Time // when it was last told, by the watching goroutine
}

// watchdogIdle is the number of samples without a callback after which the watching goroutine goes to sleep.
const watchdogIdle = 20

// starvedPause is the least time between two complaints about the machine.
const starvedPause = 10 * time.Second

func (w *watchdog) init(limit time.Duration, log *slog.Logger) {
	w.limit, w.log, w.wake = limit, log, make(chan struct{}, 1)
}

func (w *watchdog) enter() {
	w.calls.Add(1)
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

func (w *watchdog) leave() { w.calls.Add(1) }

// start begins to watch the calling goroutine. stop ends that.
func (w *watchdog) start() (stop func()) {
	if w.limit < 0 {
		return func() {}
	}
	name := goroutineName()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.watch(name, done)
	}()
	return func() {
		close(done)
		<-ended
	}
}

// watch samples until done. A callback that is seen running in samples a whole limit apart is reported once. It is not
// to blame if it could run and the process got no processor: then the machine has too much to do.
func (w *watchdog) watch(name []byte, done <-chan struct{}) {
	tick := time.NewTicker(max(w.limit/4, time.Millisecond))
	defer tick.Stop()
	var last uint64
	var seen, reported, idle int
	var began int64 // processor time at the first of the samples
	enough := 4     // samples until the stack is looked at
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := w.calls.Load()
		switch {
		case now != last:
			last, seen, reported, idle = now, 0, 0, 0
			began, enough = reactor.ProcessorTime(), 4
		case now%2 == 0:
			idle++
		default:
			seen++
		}
		if seen >= enough && reported == 0 {
			if w.report(stackOf(name), time.Duration(reactor.ProcessorTime()-began)) {
				reported = 1
			}
			seen, enough = 0, 2*enough // what it gets from now on adds up; a look stops the world
		}
		if idle < watchdogIdle {
			continue
		}
		tick.Stop()
		w.asleep.Store(true)
		if w.calls.Load() != last && w.asleep.CompareAndSwap(true, false) {
			w.wake <- struct{}{} // it began between the sample and the nap
		}
		select {
		case <-done:
			return
		case <-w.wake:
		}
		idle = 0
		tick.Reset(max(w.limit/4, time.Millisecond))
	}
}

// report tells of a callback that has held the loop for the limit, in which the process has used some processor time.
// It says whether the callback is to blame.
func (w *watchdog) report(stack string, used time.Duration) (blamed bool) {
	_, state, _ := strings.Cut(stack, "[")
	couldRun := strings.HasPrefix(state, "runnable") || strings.HasPrefix(state, "running")
	if couldRun && used < w.limit/4 {
		if now := time.Now(); now.Sub(w.starved) > starvedPause {
			w.starved = now
			w.log.Warn("the machine has too much to do: the event loop could run and did not",
				"longer_than_seconds", w.limit.Seconds())
		}
		return false
	}
	w.stalls.Add(1)
	w.log.Error("a callback holds the event loop", "longer_than_seconds", w.limit.Seconds(), "stack", stack)
	return true
}

// goroutineName is how the calling goroutine is called in stack traces.
func goroutineName() []byte {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	if i := bytes.IndexByte(buf, '['); i > 0 {
		return buf[:i]
	}
	return buf
}

// maxStacks bounds the memory for the stacks of all goroutines, among which the wanted one is searched.
const maxStacks = 1 << 20

func stackOf(name []byte) string {
	buf := make([]byte, maxStacks)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.HasPrefix(stack, name) {
			return string(stack)
		}
	}
	return fmt.Sprintf("%s: not among the first MiB of stacks", name)
}

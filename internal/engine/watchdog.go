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

// watchdog detects callbacks that occupy the loop. The loop pays two atomic additions per callback. A goroutine samples
// the counter, and sleeps without a timer while there are no callbacks.
type watchdog struct {
	limit  time.Duration
	log    *slog.Logger
	calls  atomic.Uint64 // odd while a callback runs
	asleep atomic.Bool
	wake   chan struct{}
	stalls atomic.Uint64

	starved time.Time // time of the last warning; used by the sampling goroutine
}

// watchdogIdle is the number of samples without a callback after which the sampling goroutine goes to sleep.
const watchdogIdle = 20

// starvedPause is the minimum time between two warnings about the machine.
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

// watch samples until done is closed. It reports a callback once, if samples a whole limit apart see it running. A
// callback is not to blame if it was able to run but the process got no processor: then the machine is overloaded.
func (w *watchdog) watch(name []byte, done <-chan struct{}) {
	tick := time.NewTicker(max(w.limit/4, time.Millisecond))
	defer tick.Stop()
	var last uint64
	var seen, reported, idle int
	var began int64 // processor time at the first of the samples
	enough := 4     // samples before the stack is examined
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
			seen, enough = 0, 2*enough // require more time from now on: examining stops the world
		}
		if idle < watchdogIdle {
			continue
		}
		tick.Stop()
		w.asleep.Store(true)
		if w.calls.Load() != last && w.asleep.CompareAndSwap(true, false) {
			w.wake <- struct{}{} // a callback began between the sample and this point
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

// report reports a callback that has occupied the loop for the limit. used is the processor time of the process in that
// time. report returns whether the callback is to blame.
func (w *watchdog) report(stack string, used time.Duration) (blamed bool) {
	_, state, _ := strings.Cut(stack, "[")
	couldRun := strings.HasPrefix(state, "runnable") || strings.HasPrefix(state, "running")
	if couldRun && used < w.limit/4 {
		if now := time.Now(); now.Sub(w.starved) > starvedPause {
			w.starved = now
			w.log.Warn("the machine is overloaded: the event loop was runnable but got no processor",
				"longer_than_seconds", w.limit.Seconds())
		}
		return false
	}
	w.stalls.Add(1)
	w.log.Error("a callback blocks the event loop", "longer_than_seconds", w.limit.Seconds(), "stack", stack)
	return true
}

// goroutineName returns the name of the calling goroutine in stack traces.
func goroutineName() []byte {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	if i := bytes.IndexByte(buf, '['); i > 0 {
		return buf[:i]
	}
	return buf
}

// maxStacks limits the memory for the stacks of all goroutines, which are searched for the one wanted.
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

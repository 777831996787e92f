package expedite

import (
	"context"
	"sync"
	"time"
)

// Go makes Run call f on a goroutine of its own in each process that serves connections, from when it serves: for a
// ticker, or the consumer of a queue. Its context is done when the connections of the process have ended or moved, and
// then f must return soon: the process waits for a second. With several workers, f runs in each. What one of them is to
// do for all begins with
//
//	if app.Slot() != 1 {
//		return
//	}
//
// While a worker is being replaced, f runs in the old one and in the new one. Call Go before Run.
func (a *App) Go(f func(ctx context.Context)) { a.background = append(a.background, f) }

// runBackground calls the functions of Go. stop ends them, and waits for them as long as for callbacks.
func (a *App) runBackground() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, f := range a.background {
		running.Go(func() { f(ctx) }) // ends when its context is done, or with the process
	}
	return func() {
		cancel()
		done := make(chan struct{})
		go func() { // ends with the functions, or with the process
			running.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(backgroundGrace):
			a.Logger().Warn("functions of App.Go still run at the end of the process")
		}
	}
}

// backgroundGrace is how long a process waits at its end for the functions of App.Go.
const backgroundGrace = time.Second

package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/rpc"
)

// ErrOrphaned is returned by Serve if the primary is gone.
var ErrOrphaned = errors.New("expedite: the primary is gone")

const (
	// guardTicks is the number of reports after which a worker in which nothing happens checks the memory.
	guardTicks = 6
	// moveLimit is how long a worker that has to end waits for a move of connections that is under way.
	moveLimit = 5 * time.Second
)

// departure tells until when a worker has to end, and why.
type departure struct {
	deadline time.Time
	err      error
}

// Serve serves the sockets that the primary passes, until the primary ends the worker or is gone. After the end of ctx
// the worker asks the primary to replace it; if stopBy then returns a time that has passed, it ends at once. started is
// called when the worker serves.
func (w *Worker) Serve(ctx context.Context, self *cluster.Self, started func(), stopBy func() time.Time) error {
	leave := make(chan departure, 1)
	depart := func(d departure) {
		select {
		case leave <- d:
		default: // the first one counts
		}
	}
	first := self.Listeners() // those that come later are for the hook
	self.Serve(w.hooks(self, depart))
	for _, ln := range first {
		if err := w.Listen(ln.Listener, ln.Tag); err != nil {
			return err
		}
	}
	if err := w.Start(); err != nil {
		return fmt.Errorf("expedite: Config.TLS.Cert: %w", err)
	}
	started()
	if err := self.Ready(); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	go func() { // ends with ctx, or with the worker
		select {
		case <-ctx.Done():
			w.interrupt(stopBy(), depart)
		case <-w.stopped:
		}
	}()
	d, err := w.work(self, leave)
	if err != nil {
		return err
	}
	return w.end(self, d)
}

// interrupt ends the worker if its context has ended and there is no time left. Else the worker goes on until the
// primary has replaced it, so that its connections stay: whoever has ended the context, the primary is there.
func (w *Worker) interrupt(by time.Time, depart func(departure)) {
	if !by.After(time.Now()) {
		depart(departure{deadline: by})
		return
	}
	w.leaving.Store(true)
	w.reportSoon()
}

// hooks returns what the worker does for its primary.
func (w *Worker) hooks(self *cluster.Self, depart func(departure)) cluster.Hooks {
	return cluster.Hooks{
		Tagged: func(fds []int, names []string) int {
			w.ticker.Wake()
			if w.draining.Load() || w.host.full.Load() || !w.engine.AddFDs(fds, names) {
				return 0
			}
			return len(fds)
		},
		Listen: w.listenLater,
		Retire: w.retire,
		// Blocking here slows down the primary's queue to this worker, which has a limit and counts.
		Message: func(m []byte) {
			if rpc.Is(m) {
				w.registry.Receive(m)
				return
			}
			_ = w.inbox.put(m, true)
		},
		Give: func(m cluster.Move, f *os.File) {
			w.host.give(f, m, func(o handoff.Outcome) {
				_ = self.Given(m, moveResult(o))
				w.reportSoon()
			}, func() { _ = self.Stuck(m) })
		},
		Take: func(m cluster.Move, f *os.File) {
			w.host.take(f, m.Cross, func(o handoff.Outcome) {
				_ = self.Taken(m, moveResult(o))
				w.reportSoon()
			})
		},
		Settle: func(cluster.Move) { w.engine.Post(w.host.settle) },
		Stay:   func() { w.engine.Post(w.host.stayOpen) },
		Drain:  func(deadline time.Time) { depart(departure{deadline: deadline}) },
		Lost: func() {
			w.registry.Lose()
			depart(departure{deadline: time.Now().Add(w.DrainTimeout), err: ErrOrphaned})
		},
	}
}

// moveResult returns the outcome of a move as the primary gets it.
func moveResult(o handoff.Outcome) cluster.MoveResult {
	r := cluster.MoveResult{Moved: o.Moved, Returned: o.Returned, Staying: o.Staying, Bytes: o.Bytes, Freeze: o.Freeze}
	if o.Err != nil {
		r.Error = o.Err.Error()
	}
	return r
}

// reportSoon asks for a report at once: the primary must not schedule by connections that have moved.
func (w *Worker) reportSoon() {
	select {
	case w.reportNow <- struct{}{}:
	default:
	}
}

// work does the worker's regular work until it has to end.
func (w *Worker) work(self *cluster.Self, leave <-chan departure) (d departure, err error) {
	every := w.ticker.Busy()
	tick, move := w.engine.NewTicker(every), time.NewTicker(handoffTick)
	defer move.Stop()
	move.Stop()
	trimmer := resource.NewHeapTrimmer()
	defer trimmer.Wake()
	var before uint64
	var ticks int
	w.sendReport(self) // from here on the primary notices if the loop does not turn
	for {
		select {
		case <-tick.C:
			w.countLeftOut()
			w.engine.CheckClock()
			now := w.engine.Activity()
			busy, asleep := now != before, w.ticker.Asleep()
			before = now
			if next := w.ticker.Next(busy); next != every {
				every = next
				tick.Reset(every)
			}
			if ticks++; asleep && (busy || ticks%guardTicks == 0) { // while awake, the guard has a timer
				w.guard.Wake()
			}
			trimmer.Trim(time.Now(), w.ticker.Asleep())
			w.registry.ShareKeys()
			if w.interest != nil || w.counts != nil {
				w.engine.Post(w.tellAgain)
			}
			w.sendReport(self)
		case <-w.ticker.Woken():
			trimmer.Wake()
			w.guard.Wake()
			every = w.ticker.Busy()
			tick.Reset(every)
		case <-trimmer.Collected():
			trimmer.Wake()
		case <-w.reportNow:
			w.sendReport(self)
		case <-w.host.begun:
			trimmer.Wake()
			move.Reset(handoffTick)
		case <-move.C:
			w.host.tick(self)
			if !w.host.active.Load() {
				move.Stop()
			}
		case d = <-leave:
			return d, nil
		case err := <-w.ended:
			return d, fmt.Errorf("expedite: the event loop ended: %w", err)
		}
	}
}

// sendReport sends a regular report. If it is lost, the next one tells the same.
func (w *Worker) sendReport(self *cluster.Self) {
	_ = self.Report(w.engine.Len(), w.regularReport().Encode())
}

// end drains the worker.
func (w *Worker) end(self *cluster.Self, d departure) error {
	for _, ln := range self.Listeners() {
		_ = ln.Close() // the last copy, if all workers end: new clients are refused at once
	}
	w.finishMove(self, d.deadline)
	w.inbox.close() // its readers must not wait for a loop that ends
	drain, cancel := context.WithDeadline(context.Background(), beforeKill(d.deadline))
	defer cancel()
	err := w.Stop(drain)
	w.sendReport(self)
	_ = self.Close()
	return errors.Join(d.err, err)
}

// finishMove waits for a move that is under way: connections that are frozen could not be closed properly.
func (w *Worker) finishMove(self *cluster.Self, deadline time.Time) {
	tick := time.NewTicker(handoffTick)
	defer tick.Stop()
	limit := time.NewTimer(min(time.Until(deadline)/2, moveLimit))
	defer limit.Stop()
	for w.host.active.Load() {
		select {
		case <-tick.C:
			w.host.tick(self)
		case <-limit.C:
			return
		}
	}
}

// beforeKill returns a deadline that leaves time to end properly before the primary kills this process.
func beforeKill(deadline time.Time) time.Time {
	left := time.Until(deadline)
	return deadline.Add(-min(left/5, time.Second))
}

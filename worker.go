package expedite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/rpc"
)

// errOrphaned is how a worker ends whose primary is gone.
var errOrphaned = errors.New("expedite: the primary is gone")

// runWorker serves connections that the primary passes, until the primary says otherwise.
func (a *App) runWorker(ctx context.Context) error {
	self, err := cluster.Join()
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	addr := net.Addr(&net.TCPAddr{})
	if ln := self.Listener(); ln != nil {
		addr = ln.Addr()
	}
	if err := a.openJournal(self.Slot()); err != nil {
		return err
	}
	n, err := a.newNode(self.Slot(), self.Slots(), self, addr)
	if err != nil {
		return err
	}
	leave := make(chan departure, 1)
	depart := func(d departure) {
		select {
		case leave <- d:
		default: // the first word counts
		}
	}
	self.Serve(cluster.Hooks{
		Conns: func(fds []int) int {
			n.pace.stir()
			if n.draining.Load() || n.full.Load() || !n.eng.AddFDs(fds) {
				return 0
			}
			return len(fds)
		},
		// Waiting here slows the primary's queue to this worker, which has a limit and counts.
		Message: func(m []byte) {
			if rpc.Is(m) {
				n.uplink.Receive(m)
				return
			}
			_ = n.in.put(m, true)
		},
		Give: func(m cluster.Move, f *os.File) {
			n.moves.give(f, m, func(o handoff.Outcome) {
				_ = self.Given(m, moveResult(o))
				n.reportSoon()
			}, func() { _ = self.Stuck(m) })
		},
		Take: func(m cluster.Move, f *os.File) {
			n.moves.take(f, m.Cross, func(o handoff.Outcome) {
				_ = self.Taken(m, moveResult(o))
				n.reportSoon()
			})
		},
		Settle: func(cluster.Move) { n.eng.Post(n.moves.settle) },
		Stay:   func() { n.eng.Post(n.moves.stayOpen) },
		Drain:  func(deadline time.Time) { depart(departure{deadline: deadline}) },
		Lost: func() {
			n.uplink.Lose()
			depart(departure{deadline: time.Now().Add(a.cfg.DrainTimeout), err: errOrphaned})
		},
	})
	if ln := self.Listener(); ln != nil {
		if err := n.listen(ln); err != nil {
			return err
		}
	}
	n.start(a)
	if err := self.Ready(); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return a.work(ctx, n, self, leave)
}

// moveResult tells the primary how a move has ended.
func moveResult(o handoff.Outcome) cluster.MoveResult {
	r := cluster.MoveResult{Moved: o.Moved, Returned: o.Returned, Staying: o.Staying, Bytes: o.Bytes, Freeze: o.Freeze}
	if o.Err != nil {
		r.Error = o.Err.Error()
	}
	return r
}

// reportSoon asks for a report at once: nobody should see, or schedule by, connections that have moved. Any goroutine.
func (n *node) reportSoon() {
	select {
	case n.soon <- struct{}{}:
	default:
	}
}

// departure is when, and why, a worker ends.
type departure struct {
	deadline time.Time
	err      error
}

// work reports until it is time to leave.
func (a *App) work(ctx context.Context, n *node, self *cluster.Self, leave <-chan departure) error {
	every := reportEvery
	tick, move := n.eng.NewTicker(every), time.NewTicker(handoffTick)
	defer move.Stop()
	move.Stop()
	var d departure
	var before uint64
	var ticks int
	trim := newTrimmer()
	_ = self.Report(n.eng.Len(), n.regularReport().Encode()) // from here on the primary knows if the loop does not turn
	for d.deadline.IsZero() {
		select {
		case <-tick.C:
			n.summarize()
			n.eng.CheckClock()
			now := n.eng.Activity()
			busy, asleep := now != before, n.pace.asleep.Load()
			next := n.pace.next(busy)
			before = now
			if next != every {
				every = next
				tick.Reset(every)
			}
			if ticks++; asleep && (busy || ticks%admissionTicks == 0) { // awake, it looks by itself
				n.admission.stir()
			}
			trim.look(time.Now(), n.pace.asleep.Load())
			n.uplink.ShareKeys()
			_ = self.Report(n.eng.Len(), n.regularReport().Encode()) // the next one tells the same
		case <-n.pace.wake:
			trim.rise()
			n.admission.stir()
			every = min(reportEvery, n.pace.idle)
			tick.Reset(every)
		case <-trim.collected:
			trim.rise()
		case <-n.soon:
			_ = self.Report(n.eng.Len(), n.regularReport().Encode())
		case <-n.moves.begun:
			trim.rise()
			move.Reset(handoffTick)
		case <-move.C:
			n.moves.look(self)
			if !n.moves.active.Load() {
				move.Stop()
			}
		case d = <-leave:
		case <-ctx.Done():
			d.deadline = a.stopDeadline(ctx)
		case err := <-n.ended:
			return fmt.Errorf("expedite: the event loop ended: %w", err)
		}
	}
	trim.rise()
	if ln := self.Listener(); ln != nil {
		_ = ln.Close() // the last copy: new clients are refused at once
	}
	move.Reset(handoffTick)
	n.finishMove(self, move.C, d.deadline)
	n.in.close() // whoever reads for us must not wait for a loop that ends
	drain, cancel := context.WithDeadline(context.Background(), beforeKill(d.deadline))
	defer cancel()
	err := n.stop(drain)
	_ = self.Report(n.eng.Len(), n.regularReport().Encode())
	_ = self.Close()
	return errors.Join(d.err, err)
}

// moveLimit is how long a worker that is to end lets a move of connections go on.
const moveLimit = 5 * time.Second

// finishMove lets a move that is under way come to its end: what is frozen could not be closed properly.
func (n *node) finishMove(self *cluster.Self, tick <-chan time.Time, deadline time.Time) {
	limit := time.NewTimer(min(time.Until(deadline)/2, moveLimit))
	defer limit.Stop()
	for n.moves.active.Load() {
		select {
		case <-tick:
			n.moves.look(self)
		case <-limit.C:
			return
		}
	}
}

// beforeKill leaves time to end properly before the primary kills.
func beforeKill(deadline time.Time) time.Time {
	left := time.Until(deadline)
	return deadline.Add(-min(left/5, time.Second))
}

// ErrStopNow is for the cause of Run's context: it ends without a drain. See context.WithCancelCause.
var ErrStopNow = errors.New("expedite: stop now")

// stopDeadline is when a stop has to be complete.
func (a *App) stopDeadline(ctx context.Context) time.Time {
	if errors.Is(context.Cause(ctx), ErrStopNow) {
		return time.Now()
	}
	return time.Now().Add(a.cfg.DrainTimeout)
}

// MaxWorkers is the largest number of worker processes.
const MaxWorkers = cluster.MaxWorkers

// Slot is the place of this worker, 1 to Slots; 0 in the primary, and before Run.
func (a *App) Slot() int {
	if n := a.node.Load(); n != nil {
		return n.slot
	}
	return 0
}

// Slots is the number of workers; 1 if this process serves by itself, 0 in the primary, and before Run.
func (a *App) Slots() int {
	if n := a.node.Load(); n != nil {
		return n.slots
	}
	return 0
}

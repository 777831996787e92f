package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A roll replaces workers, or changes their number, while they serve: Reload, Replace, Scale or Rebalance.

// ErrBusy is returned by Reload, Replace, Scale, Rebalance and Exec while another of them is running.
var ErrBusy = errors.New("cluster: busy")

// Step is what a roll is doing.
type Step string

// The steps.
const (
	StepStarting Step = "starting" // a worker starts
	StepMoving   Step = "moving"   // connections move
	StepDraining Step = "draining" // a worker closes the connections that could not move, and exits
	StepDone     Step = "done"
)

// Progress describes how far a roll is.
type Progress struct {
	Slot, Generation int
	Step             Step
	Moved, Left      int     // connections, in the current move
	Total            int     // connections that have moved in all slots
	Done, Slots      int     // slots that are done, and all that the roll is about
	Rate             float64 // connections moved per second
}

// RollOptions are the options of a roll. The zero value is right for most callers.
type RollOptions struct {
	// Canary is how long the first new worker must run before the roll continues: once beside the old worker, and once
	// in its place. 0 is not at all.
	Canary time.Duration
	// Drain is the time that a worker has to close the connections that cannot move. 0 is 30 s.
	Drain time.Duration
	// Trial makes Reload first run the next program on trial, as Exec does with the same options. If the trial fails,
	// nothing is replaced, and the error is a *TrialError. Nil is no trial.
	Trial *ExecOptions
	// Progress is called by the goroutine of the roll. It must not block for long. Nil is allowed.
	Progress func(Progress)
}

// defaultDrain is the default of RollOptions.Drain.
const defaultDrain = 30 * time.Second

// RollResult is the result of a roll.
type RollResult struct {
	Moved   int           // connections that moved to another worker
	Drained int           // connections that could not move and were closed
	Failed  int           // connections that were lost with a worker, in any slot
	Workers int           // that were started
	Bytes   int           // size of the states that were sent
	Freeze  time.Duration // the longest time for which a connection was not served
	Moving  time.Duration // the part of Took in which connections moved
	Took    time.Duration
}

// Reload replaces all workers, one slot after the other, by workers of the program that is on disk now. Their
// connections move. If the first new worker fails to become ready, nothing has changed, and the error is a
// *StartError with its exit status and the end of its standard error. Reload returns ErrBusy while another roll is
// running. When ctx ends, the roll stops before the next slot.
func (p *Primary) Reload(ctx context.Context, o RollOptions) (RollResult, error) {
	slots := p.s.slotList()
	r, err := beginRoll(p.s, o, len(slots))
	if err != nil {
		return RollResult{}, err
	}
	err = r.reload(ctx, slots)
	p.s.closePrograms()
	return r.end(), err
}

// Replace replaces the worker of one slot by one of the same program. Its connections move as in Reload.
func (p *Primary) Replace(ctx context.Context, slot int, o RollOptions) (RollResult, error) {
	r, err := beginRoll(p.s, o, 1)
	if err != nil {
		return RollResult{}, err
	}
	err = fmt.Errorf("cluster: there is no worker %d", slot)
	if at := slotTable(p.s.slotList()).get(slot); at != nil {
		if err = r.replace(ctx, at, o.Canary); err == nil {
			r.result.Workers++
		}
	}
	return r.end(), err
}

// Rolling reports whether Reload, Replace, Scale, Rebalance or Exec is running.
func (p *Primary) Rolling() bool { return p.s.rolls.active.Load() }

// RollTotals returns the sums over all rolls.
func (p *Primary) RollTotals() RollTotals { return p.s.rolls.sum() }

// roll is a roll that is running. It belongs to the goroutine that runs it.
type roll struct {
	s       *supervisor
	o       RollOptions
	began   time.Time
	result  RollResult
	lost    uint64   // supervisor.moves.lost before the roll
	program *program // of the new workers; nil is the one of their slot

	// For Progress.
	slot, generation, done, slots int
	moved, left                   int // of the last move

	undo func() // undoes the last start in an empty slot, if that fails; on the loop
}

// beginRoll begins a roll unless another one is running. The caller must call end.
func beginRoll(s *supervisor, o RollOptions, slots int) (*roll, error) {
	if o.Drain <= 0 {
		o.Drain = defaultDrain
	}
	if !s.rolls.acquire() {
		return nil, ErrBusy
	}
	r := &roll{s: s, o: o, began: time.Now(), slots: slots, lost: s.moves.lost.Load()}
	runs := false
	s.loop.call(func() { runs = !s.stopping && s.unready == 0 })
	if !runs {
		s.rolls.release()
		return nil, ErrStopped
	}
	return r, nil
}

// end ends the roll and returns its result.
func (r *roll) end() RollResult {
	r.result.Took = time.Since(r.began)
	// On the loop, so that exits that were noticed before are counted.
	r.s.loop.call(func() { r.result.Failed = int(r.s.moves.lost.Load() - r.lost) })
	r.report(StepDone, nil)
	r.s.rolls.add(r.result)
	r.s.rolls.release()
	return r.result
}

// add adds the result of a move.
func (r *roll) add(m MoveResult) {
	r.result.Moved += m.Moved - m.Returned
	r.result.Drained += m.Staying
	r.result.Bytes += m.Bytes
	r.result.Freeze = max(r.result.Freeze, m.Freeze)
}

// report calls RollOptions.Progress. m is the current move, or nil.
func (r *roll) report(step Step, m *move) {
	if r.o.Progress == nil {
		return
	}
	pr := Progress{
		Slot: r.slot, Generation: r.generation, Step: step, Total: r.result.Moved, Done: r.done, Slots: r.slots,
	}
	if m != nil {
		r.moved, r.left = int(m.moved.Load()), int(m.left.Load())
	}
	if step == StepStarting {
		r.moved, r.left = 0, 0
	}
	pr.Moved, pr.Left = r.moved, r.left
	if took := r.result.Moving.Seconds(); took > 0 {
		pr.Rate = float64(pr.Total) / took
	}
	r.o.Progress(pr)
}

// reload is Primary.Reload.
func (r *roll) reload(ctx context.Context, slots []*slot) (err error) {
	if r.program, err = r.s.launcher.openNext(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := r.try(ctx); err != nil {
		return err
	}
	for i, at := range slots {
		canary := time.Duration(0)
		if i == 0 {
			canary = r.o.Canary
		}
		if err := r.replace(ctx, at, canary); errors.Is(err, errGone) {
			continue
		} else if err != nil {
			return err
		}
		r.result.Workers++
		r.done++
		if w := r.s.roster.last(at.number); i == 0 && len(slots) > 1 && w != nil { // nil if it was disconnected
			if err := survive(ctx, w, canary); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	if r.program != nil {
		r.s.launcher.adopt(r.program)
	}
	return nil
}

// try runs the next program on trial.
func (r *roll) try(ctx context.Context) error {
	if r.o.Trial == nil {
		return nil
	}
	next := r.program
	if next == nil {
		next = &program{path: r.s.launcher.current().Exec}
	}
	err := (&execution{s: r.s, o: *r.o.Trial, next: next}).try(ctx)
	next.tried = err == nil
	return err
}

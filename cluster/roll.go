package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Step is what a roll does at present.
type Step string

// The steps.
const (
	StepStarting Step = "starting" // a worker starts
	StepMoving   Step = "moving"   // connections move
	StepDraining Step = "draining" // a worker ends
	StepDone     Step = "done"
)

// Progress is how far Reload, Replace, Scale or Rebalance is.
type Progress struct {
	Slot, Generation int
	Step             Step
	Moved, Left      int // connections of the move under way
	Total            int // connections that have moved in all slots
	Done, Slots      int // slots
	Rate             float64
}

// RollOptions tell how to roll. The zero value is right for most.
type RollOptions struct {
	// Canary is how long the first new worker must serve, once beside the old one and once in its place, before the
	// rest follows. 0 is none.
	Canary time.Duration
	// Drain is the time for connections that cannot move. 0 is 30 s.
	Drain time.Duration
	// Trial has the program that Reload is about to start say first, as for Exec with the same options, whether it could
	// take this one's place. If it could not, nothing is replaced, and the error is a *TrialError. Nil is no trial.
	Trial *ExecOptions
	// Progress is told what happens, by the goroutine that rolls. It must not block for long.
	Progress func(Progress)
}

// defaultDrain is the default of RollOptions.Drain.
const defaultDrain = 30 * time.Second

// RollResult is what a roll has done.
type RollResult struct {
	Moved   int           // connections that have another worker
	Drained int           // connections that could not move: they were closed
	Failed  int           // connections that were lost with a worker, of any slot
	Workers int           // that were started
	Bytes   int           // of the states that travelled
	Freeze  time.Duration // the longest time that a connection stood still
	Moving  time.Duration // of Took, the time in which connections moved
	Took    time.Duration
}

// roll is a Reload, Replace, Scale or Rebalance under way.
type roll struct {
	p      *Primary
	o      RollOptions
	began  time.Time
	result RollResult
	lost   uint64 // connections, before it began

	program *program // for the workers; nil is the one that they have

	slot, generation, done, slots int
	moved, left                   int    // of the latest move
	undo                          func() // of the latest start in an empty slot, if that fails; on the run loop
}

// beginRoll makes sure that there is one at a time. end must be called.
func (p *Primary) beginRoll(o RollOptions, slots int) (*roll, error) {
	if o.Drain <= 0 {
		o.Drain = defaultDrain
	}
	if !p.rolling.CompareAndSwap(false, true) {
		return nil, ErrBusy
	}
	r := &roll{p: p, o: o, began: time.Now(), slots: slots, lost: p.connectionsLost.Load()}
	var err error
	p.doNow(func() {
		if p.stopping || p.unready > 0 {
			err = ErrStopped
		}
	})
	if err != nil || p.hasEnded() {
		p.rolling.Store(false)
		return nil, ErrStopped
	}
	return r, nil
}

func (r *roll) end() RollResult {
	r.result.Took = time.Since(r.began)
	r.p.doNow(func() { r.result.Failed = int(r.p.connectionsLost.Load() - r.lost) }) // what was noticed before counts
	r.report(StepDone, nil)
	r.p.mu.Lock()
	r.p.rolled.Moved += uint64(r.result.Moved)
	r.p.rolled.Failed += uint64(r.result.Failed)
	r.p.rolled.Drained += uint64(r.result.Drained)
	r.p.rolled.Last = r.result.Took
	r.p.mu.Unlock()
	r.p.rolling.Store(false)
	return r.result
}

// RollTotals is what all rolls have done since the primary first started.
type RollTotals struct {
	Moved, Drained, Failed uint64
	Last                   time.Duration // of the last one
}

// RollTotals returns the sums.
func (p *Primary) RollTotals() RollTotals {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rolled
}

func (r *roll) add(m MoveResult) {
	r.result.Moved += m.Moved - m.Returned
	r.result.Drained += m.Staying
	r.result.Bytes += m.Bytes
	r.result.Freeze = max(r.result.Freeze, m.Freeze)
}

// report tells how far the roll is.
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

// Reload replaces all workers, one slot after the other, by workers of the program that is on disk now. Their
// connections move. If the first new worker does not serve, nothing has changed; the error, a *StartError, tells its
// last words. ErrBusy says that another roll is under way. When ctx ends, the roll stops before the next slot.
func (p *Primary) Reload(ctx context.Context, o RollOptions) (RollResult, error) {
	slots := p.slotList()
	r, err := p.beginRoll(o, len(slots))
	if err != nil {
		return RollResult{}, err
	}
	if r.program, err = p.openNext(); err != nil {
		return r.end(), fmt.Errorf("cluster: %w", err)
	}
	if err := r.try(ctx); err != nil {
		p.closePrograms()
		return r.end(), err
	}
	for i, s := range slots {
		canary := time.Duration(0)
		if i == 0 {
			canary = r.o.Canary
		}
		if err = r.replace(ctx, s, canary); errors.Is(err, errGone) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		r.result.Workers++
		r.done++
		if w := p.roster.last(s.number); i == 0 && len(slots) > 1 && w != nil { // nil is one that was disconnected
			if err = serve(ctx, w, canary); err != nil {
				break
			}
		}
		if err = context.Cause(ctx); err != nil {
			break
		}
	}
	if err == nil && r.program != nil {
		p.doNow(func() { p.took(r.program) })
	}
	p.closePrograms()
	return r.end(), err
}

// try has the next program on trial.
func (r *roll) try(ctx context.Context) error {
	if r.o.Trial == nil {
		return nil
	}
	next := r.program
	if next == nil {
		next = &program{path: r.p.Settings().Exec}
	}
	err := r.p.tryNext(ctx, next, *r.o.Trial)
	next.tried = err == nil
	return err
}

// Replace replaces the worker of one slot by one of the same program. Its connections move as with Reload.
func (p *Primary) Replace(ctx context.Context, slot int, o RollOptions) (RollResult, error) {
	r, err := p.beginRoll(o, 1)
	if err != nil {
		return RollResult{}, err
	}
	err = fmt.Errorf("cluster: there is no worker %d", slot)
	for _, s := range p.slotList() {
		if s.number == slot {
			if err = r.replace(ctx, s, o.Canary); err == nil {
				r.result.Workers++
			}
		}
	}
	return r.end(), err
}

// Rolling says whether Reload, Replace, Scale, Rebalance or Exec is under way.
func (p *Primary) Rolling() bool { return p.rolling.Load() }

// slotList are the slots that there are.
func (p *Primary) slotList() (list []*slot) {
	p.doNow(func() { list = append(list, p.slots...) })
	return list
}

// doNow runs f on the run loop and waits for it. It does nothing when the primary has ended.
func (p *Primary) doNow(f func()) {
	done := make(chan struct{})
	p.do(func() { f(); close(done) })
	select {
	case <-done:
	case <-p.ended:
	}
}

func (p *Primary) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

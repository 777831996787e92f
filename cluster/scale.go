package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// reportPatience is how long a rebalance waits for workers to say how many connections they have.
	reportPatience = 3 * time.Second
	// evenEnough is the share of the mean by which workers may differ: less is not worth a move.
	evenEnough = 0.01
	// everything is more connections than there are: unlike a negative count, it leaves what has moved where it is.
	everything = 1 << 40
)

// Scale changes the number of workers to n, while they serve: new ones get their share of the connections, and those of
// workers that end move to the others. It fails as Reload does.
func (p *Primary) Scale(ctx context.Context, n int, o RollOptions) (RollResult, error) {
	if n < 1 || n > MaxWorkers {
		return RollResult{}, fmt.Errorf("cluster: %d workers: want 1 to %d", n, MaxWorkers)
	}
	r, err := p.beginRoll(o, n)
	if err != nil {
		return RollResult{}, err
	}
	before := len(p.slotList())
	for len(p.slotList()) < n && err == nil {
		err = r.grow()
	}
	for len(p.slotList()) > n && err == nil {
		if err = r.shrink(); err == nil {
			err = context.Cause(ctx)
		}
	}
	if err == nil && n > before {
		err = r.balance(ctx)
	}
	return r.end(), err
}

// grow adds a worker.
func (r *roll) grow() error {
	w, err := r.p.Fork()
	if err != nil {
		return err
	}
	r.slot, r.generation = w.slot, w.generation
	r.report(StepStarting, nil)
	select {
	case <-w.ready:
		r.result.Workers++
		r.done++
		return nil
	case <-w.done:
	}
	// Started again and again, it would be no better.
	r.p.doNow(func() {
		if w.at.worker == nil || w.at.worker.State() == StateStarting {
			r.p.discard(w.at)
		}
	})
	return w.startError()
}

// shrink moves the connections of the last worker to the others, and ends it.
func (r *roll) shrink() error {
	p := r.p
	slots := p.slotList()
	last := slots[len(slots)-1]
	var from *Worker
	var others []*Worker
	p.doNow(func() {
		from = last.worker
		for _, s := range slots[:len(slots)-1] {
			if s.worker != nil && s.worker.State() == StateReady {
				others = append(others, s.worker)
			}
		}
		if from != nil {
			p.disp.pause(from)
		}
	})
	r.slot = last.number
	if from == nil || len(others) == 0 {
		p.doNow(func() { p.discard(last) })
		return nil
	}
	r.report(StepMoving, nil)
	left := from.Load()
	for i, to := range others {
		count := everything // all that is there, whatever was reported
		if rest := len(others) - i; rest > 1 {
			count = (left + rest - 1) / rest
		}
		res, err := r.move(Move{Count: count, Leave: true}, from, to)
		if i < len(others)-1 {
			res.Staying = 0 // the next one tries again
		}
		r.add(res)
		if err != nil && !res.Unsupported {
			p.doNow(func() {
				p.disp.resume(from)
				_ = from.link.send(kindStay, nil) // one that is gone does not
			})
			return err
		}
		left = max(left-res.Moved, 0)
	}
	r.report(StepDraining, nil)
	ctx, cancel := context.WithTimeout(context.Background(), r.o.Drain+drainGrace)
	defer cancel()
	r.done++
	return from.Disconnect(ctx)
}

// Rebalance moves connections from workers that have more than others to those that have less, until all have about the
// same. It fails as Reload does.
func (p *Primary) Rebalance(ctx context.Context, o RollOptions) (RollResult, error) {
	r, err := p.beginRoll(o, len(p.slotList()))
	if err != nil {
		return RollResult{}, err
	}
	err = r.balance(ctx)
	return r.end(), err
}

// share is a worker and the number of connections that it has.
type share struct {
	w    *Worker
	load int
}

// balance moves from the fullest to the emptiest until all are near the mean.
func (r *roll) balance(ctx context.Context) error {
	shares, sum := r.shares(ctx)
	if len(shares) < 2 {
		return nil
	}
	mean := sum / len(shares)
	slack := max(int(evenEnough*float64(mean)), 1)
	for ctx.Err() == nil {
		slices.SortFunc(shares, func(a, b share) int { return a.load - b.load })
		least, most := &shares[0], &shares[len(shares)-1]
		count := min(most.load-mean, mean-least.load)
		if count < slack {
			count = min(most.load-least.load)/2 - slack // only one of them is far from the mean
		}
		if count < 1 {
			return nil
		}
		r.slot, r.generation = most.w.slot, most.w.generation
		r.report(StepMoving, nil)
		res, err := r.move(Move{Count: count}, most.w, least.w)
		res.Staying = 0 // those go on where they are
		r.add(res)
		if err != nil && !res.Unsupported {
			return err
		}
		if res.Moved == 0 {
			return nil // the rest cannot move
		}
		most.load -= res.Moved
		least.load += res.Moved
	}
	return context.Cause(ctx)
}

// shares asks how many connections the workers have, by waiting for their next reports.
func (r *roll) shares(ctx context.Context) (list []share, sum int) {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	var workers []*Worker
	r.p.doNow(func() {
		for _, s := range r.p.slots {
			if s.worker != nil && s.worker.State() == StateReady {
				workers = append(workers, s.worker)
			}
		}
	})
	for _, w := range workers {
		seen := w.reports.Load()
		tick := time.NewTicker(20 * time.Millisecond)
		for w.reports.Load() == seen && !w.IsDead() && ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		tick.Stop()
	}
	for _, w := range workers {
		list = append(list, share{w, w.Load()})
		sum += w.Load()
	}
	return list, sum
}

package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// reportPatience is how long a rebalance waits for workers to report their number of connections.
	reportPatience = 3 * time.Second
	// evenEnough is the share of the mean by which workers may differ: evening out less is not worth a move.
	evenEnough = 0.01
	// everything is more connections than any worker has. Unlike a negative count it leaves those that have moved where
	// they are if others cannot move.
	everything = 1 << 40
)

// Scale changes the number of workers to n while they serve. New workers get their share of the connections, and the
// connections of workers that end move to the others. Errors are as in Reload.
func (p *Primary) Scale(ctx context.Context, n int, o RollOptions) (RollResult, error) {
	if n < 1 || n > MaxWorkers {
		return RollResult{}, fmt.Errorf("cluster: %d workers: want 1 to %d", n, MaxWorkers)
	}
	r, err := beginRoll(p.s, o, n)
	if err != nil {
		return RollResult{}, err
	}
	count := func() int { return len(p.s.slotList()) }
	before := count()
	for count() < n && err == nil {
		err = r.grow()
	}
	for count() > n && err == nil {
		if err = r.shrink(); err == nil {
			err = context.Cause(ctx)
		}
	}
	if err == nil && n > before {
		err = r.balance(ctx)
	}
	return r.end(), err
}

// Rebalance moves connections from workers that have more than others to those that have fewer, until all have about
// the same number. Errors are as in Reload.
func (p *Primary) Rebalance(ctx context.Context, o RollOptions) (RollResult, error) {
	r, err := beginRoll(p.s, o, len(p.s.slotList()))
	if err != nil {
		return RollResult{}, err
	}
	err = r.balance(ctx)
	return r.end(), err
}

// grow adds a worker.
func (r *roll) grow() error {
	s := r.s
	w, err := (*Worker)(nil), ErrStopped
	s.loop.call(func() { w, err = s.fork(nil) })
	if err != nil {
		return err
	}
	r.slot, r.generation = w.slot, w.generation
	r.report(StepStarting, nil)
	if err := awaitReady(w); err != nil {
		// Restarting it would not help.
		s.loop.call(func() {
			if w.at.worker == nil || w.at.worker.State() == StateStarting {
				s.discard(w.at)
			}
		})
		return err
	}
	r.result.Workers++
	r.done++
	return nil
}

// shrink moves the connections of the last worker to the others and ends it.
func (r *roll) shrink() error {
	s := r.s
	var last *slot
	var from *Worker
	var others []*Worker
	s.loop.call(func() {
		last = s.slots[len(s.slots)-1]
		from = last.worker
		others = s.slots[:len(s.slots)-1].ready()
		if from != nil {
			s.disp.pause(from)
		}
	})
	if last == nil {
		return ErrStopped
	}
	r.slot = last.number
	if from == nil || len(others) == 0 {
		s.loop.call(func() { s.discard(last) })
		return nil
	}
	r.report(StepMoving, nil)
	left := from.Load()
	for i, to := range others {
		count := everything // the last one takes all that are there, whatever was reported
		if rest := len(others) - i; rest > 1 {
			count = (left + rest - 1) / rest
		}
		res, err := r.move(Move{Count: count, Leave: true}, from, to)
		if i < len(others)-1 {
			res.Staying = 0 // the next move tries them again
		}
		r.add(res)
		if err != nil && !res.Unsupported {
			s.loop.call(func() {
				s.disp.resume(from)
				_ = from.link.send(kindStay, nil) // fails if it has disconnected
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

// share is a worker and its number of connections.
type share struct {
	w    *Worker
	load int
}

// balance moves connections from the fullest worker to the emptiest until all are near the mean.
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
			count = (most.load-least.load)/2 - slack // only one of the two is far from the mean
		}
		if count < 1 {
			return nil
		}
		r.slot, r.generation = most.w.slot, most.w.generation
		r.report(StepMoving, nil)
		res, err := r.move(Move{Count: count}, most.w, least.w)
		res.Staying = 0 // they are not drained
		r.add(res)
		if err != nil && !res.Unsupported {
			return err
		}
		if res.Moved == 0 {
			return nil // the others cannot move
		}
		most.load -= res.Moved
		least.load += res.Moved
	}
	return context.Cause(ctx)
}

// shares returns the workers and their numbers of connections, after waiting for their next reports.
func (r *roll) shares(ctx context.Context) (list []share, sum int) {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	var workers []*Worker
	r.s.loop.call(func() { workers = r.s.slots.ready() })
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

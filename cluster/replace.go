package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrMove is returned if connections could not be moved. Connections that had moved are back, or stay where they are.
var ErrMove = errors.New("cluster: move failed")

// errGone is returned if a slot was removed meanwhile.
var errGone = errors.New("cluster: the worker was disconnected meanwhile")

const (
	// letGo is how long the taker of a failed move may take to notice the failure.
	letGo = 10 * time.Second
	// progressEvery is the interval between calls of RollOptions.Progress during a move.
	progressEvery = 200 * time.Millisecond
	// drainGrace is how long a worker may take to exit after its time to drain.
	drainGrace = time.Second
)

// move moves connections and keeps the routes in order. There is no limit to its time while the workers make progress.
func (r *roll) move(o Move, from, to *Worker) (res MoveResult, err error) {
	s := r.s
	began := time.Now()
	defer func() { r.result.Moving += time.Since(began) }()
	m := s.moves.begin(o, from, to)
	defer func() {
		s.loop.call(func() { s.moves.end(m, max(m.passed, res.Moved)-res.Returned) })
	}()
	from.state.CompareAndSwap(uint32(StateReady), uint32(StateMoving))
	if err := m.start(); err != nil {
		return MoveResult{}, r.failed(m, MoveResult{Error: err.Error()})
	}
	given := r.awaitGiven(m)
	if given.Error != "" && (o.Count < 0 || from.IsDead() || to.IsDead() || given.Unsupported) {
		if !from.IsDead() && !given.Unsupported {
			r.awaitLetGo(m)
		}
		return given, r.failed(m, given)
	}
	s.loop.call(func() {
		s.moves.announce(m, MoveGiven)
		_ = from.link.send(kindSettle, m.append(nil))
	})
	r.moved, r.left = given.Moved, given.Staying
	taken := r.awaitTaken(m)
	given.Freeze = taken.Freeze
	if to.IsDead() {
		m.passed = given.Moved
		return MoveResult{Staying: given.Staying}, r.failed(m, taken)
	}
	s.loop.call(func() {
		if o.Count < 0 {
			s.promote(m.to)
		} else {
			from.state.CompareAndSwap(uint32(StateMoving), uint32(StateReady))
		}
		s.moves.announce(m, MoveTaken)
	})
	if given.Error != "" {
		return given, fmt.Errorf("%w: %s", ErrMove, given.Error)
	}
	return given, nil
}

// awaitGiven waits for the giver's result. If the giver dies, it returns what is known instead.
func (r *roll) awaitGiven(m *move) MoveResult {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case g := <-m.given:
			return g
		case <-m.stuck:
			r.s.loop.call(func() { m.to.why = "did not respond while connections were moved to it" })
			m.to.proc.kill() // the giver sees the end of the socketpair and takes back what was under way
		case <-m.from.done:
			return r.giverDied(m)
		case <-tick.C:
			r.report(StepMoving, m)
		}
	}
}

// giverDied returns the result of a move whose giver has died. The taker has accepted all that had reached the
// socketpair.
func (r *roll) giverDied(m *move) MoveResult {
	select {
	case g := <-m.given: // sent before it died
		if g.Error == "" {
			return g
		}
	default:
	}
	out := r.awaitTaken(m)
	out.Error = fmt.Sprintf("worker %d died while its connections were moved", m.from.slot)
	return out
}

// awaitTaken waits for the taker's result.
func (r *roll) awaitTaken(m *move) MoveResult {
	select {
	case t := <-m.taken:
		return t
	case <-m.to.done:
		return MoveResult{Error: fmt.Sprintf("worker %d died while connections were moved to it", m.to.slot)}
	}
}

// awaitLetGo waits until the taker of a failed move knows of the failure and is ready for another move. It kills a
// taker that does not respond.
func (r *roll) awaitLetGo(m *move) {
	t := time.AfterFunc(letGo, func() {
		r.s.loop.call(func() { m.to.why = "did not respond after a failed move" })
		m.to.proc.kill()
	})
	defer t.Stop()
	r.awaitTaken(m)
}

// failed restores the routes of a move and returns its error.
func (r *roll) failed(m *move, res MoveResult) error {
	r.s.loop.call(func() {
		m.from.state.CompareAndSwap(uint32(StateMoving), uint32(StateReady))
		r.s.moves.announce(m, MoveFailed)
	})
	return fmt.Errorf("%w: %s", ErrMove, res.Error)
}

// replace replaces the worker of a slot and moves its connections.
func (r *roll) replace(ctx context.Context, at *slot, canary time.Duration) error {
	old, next, err := r.startSuccessor(ctx, at)
	if err != nil {
		return err
	}
	s := r.s
	r.slot, r.generation = at.number, next.generation
	r.report(StepStarting, nil)
	if err := awaitReady(next); err != nil || old == nil {
		if err != nil {
			s.loop.call(r.undo)
		}
		return err
	}
	if err := survive(ctx, next, canary); err != nil {
		return r.abandon(old, next, err)
	}
	s.loop.call(func() { s.disp.pause(old) })
	r.report(StepMoving, nil)
	res, err := r.move(Move{Count: -1, Leave: true}, old, next)
	r.add(res)
	switch {
	case err == nil:
	case res.Unsupported:
		s.loop.call(func() { s.promote(next) })
	case old.IsDead(): // the successor has the slot, and the connections that could be saved
	default:
		return r.abandon(old, next, err)
	}
	r.report(StepDraining, nil)
	r.retire(old)
	return nil
}

// startSuccessor starts a successor of the worker of a slot; old is nil if the slot is empty. If that worker is just
// starting, because the one before has died, startSuccessor waits for it first.
func (r *roll) startSuccessor(ctx context.Context, at *slot) (old, next *Worker, err error) {
	s := r.s
	r.undo = func() {}
	s.loop.call(func() {
		switch old = at.worker; {
		case s.stopping:
			err = ErrStopped
		case !slices.Contains(s.slots, at):
			err = errGone
		case old == nil: // it has crashed: do not wait for its restart
			at.history = history{}
			at.stopTimer()
			before := at.program
			if r.program != nil {
				at.program = r.program
			}
			if err = s.launch(at); err == nil {
				next = at.worker
			}
			r.undo = func() { at.program = before }
		case old.State() == StateStarting:
		case old.State() != StateReady:
			err = fmt.Errorf("cluster: worker %d is %s: wait until it is ready", at.number, old.State())
		default:
			next, err = s.launchSuccessor(at, r.program)
		}
	})
	if err != nil || next != nil {
		return old, next, err
	}
	if old == nil {
		return nil, nil, ErrStopped
	}
	select {
	case <-old.ready:
	case <-old.done:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	return r.startSuccessor(ctx, at)
}

// awaitReady blocks until a worker is ready or has ended.
func awaitReady(w *Worker) error {
	select {
	case <-w.ready:
		return nil
	case <-w.done:
		return w.startError()
	}
}

// survive returns nil if a worker has run for d.
func survive(ctx context.Context, w *Worker, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-w.done:
		return w.startError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// abandon ends a successor that could not replace the old worker, which continues. Connections that the successor has
// accepted meanwhile move to the old worker; those that cannot move are drained.
func (r *roll) abandon(old, next *Worker, why error) error {
	s := r.s
	s.loop.call(func() {
		next.wanted = true
		s.disp.pause(next)
		s.disp.resume(old)
		_ = old.link.send(kindStay, nil) // fails if it has disconnected
	})
	if next.IsDead() {
		return why
	}
	res, _ := r.move(Move{Count: everything, Leave: true}, next, old)
	r.result.Drained += res.Staying
	r.report(StepDraining, nil)
	r.retire(next)
	return why
}

// retire ends a worker whose connections have moved. Those that could not move are drained.
func (r *roll) retire(old *Worker) {
	r.s.loop.call(func() {
		if !old.IsDead() {
			old.ask(r.o.Drain)
		}
	})
	t := time.NewTimer(r.o.Drain + drainGrace)
	defer t.Stop()
	select {
	case <-old.done:
		return
	case <-t.C:
	}
	old.proc.kill()
	<-old.done
}

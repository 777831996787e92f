package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of Reload, Replace, Scale and Rebalance.
var (
	// ErrBusy says that another such operation is under way.
	ErrBusy = errors.New("cluster: busy")
	// ErrMove says that connections could not be moved. Those that had moved already are back, or stay where they are.
	ErrMove = errors.New("cluster: move failed")
)

// errGone says that a slot was given up meanwhile.
var errGone = errors.New("cluster: the worker was disconnected meanwhile")

// letGo is how long the taker of a failed move may need to notice.
const letGo = 10 * time.Second

// progressEvery is how often Roll.Progress hears of a move under way.
const progressEvery = 200 * time.Millisecond

// move moves connections and keeps the routes in order. It may take as long as the workers make progress.
func (r *roll) move(o Move, from, to *Worker) (res MoveResult, err error) {
	p := r.p
	began := time.Now()
	defer func() { r.result.Moving += time.Since(began) }()
	o.ID = p.moveIDs.Add(1)
	o.Cross = from.slot != to.slot
	m := &move{
		Move: o, from: from, to: to,
		given: make(chan MoveResult, 1), taken: make(chan MoveResult, 1), stuck: make(chan struct{}, 1),
	}
	m.fromHad, m.toHad = int64(from.Load()), int64(to.Load())
	p.moving.Store(m)
	defer func() { p.finish(m, max(m.passed, res.Moved)-res.Returned) }()
	from.state.CompareAndSwap(uint32(StateReady), uint32(StateMoving))
	if err := m.begin(); err != nil {
		return MoveResult{}, r.failed(m, MoveResult{Error: err.Error()})
	}
	given := r.awaitGiven(m)
	if given.Error != "" && (o.Count < 0 || from.IsDead() || to.IsDead() || given.Unsupported) {
		if !from.IsDead() && !given.Unsupported {
			r.awaitLetGo(m)
		}
		return given, r.failed(m, given)
	}
	p.doNow(func() {
		p.route(m, MoveGiven)
		_ = from.link.send(kindSettle, m.appendGive(nil))
	})
	r.moved, r.left = given.Moved, given.Staying
	taken := r.awaitTaken(m)
	given.Freeze = taken.Freeze
	if to.IsDead() {
		m.passed = given.Moved
		return MoveResult{Staying: given.Staying}, r.failed(m, taken)
	}
	p.doNow(func() {
		if o.Count < 0 {
			p.promote(m.to)
		} else {
			from.state.CompareAndSwap(uint32(StateMoving), uint32(StateReady))
		}
		p.route(m, MoveTaken)
	})
	if given.Error != "" {
		return given, fmt.Errorf("%w: %s", ErrMove, given.Error)
	}
	return given, nil
}

// awaitGiven waits for the giver's word, or for what its end leaves to say.
func (r *roll) awaitGiven(m *move) MoveResult {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case g := <-m.given:
			return g
		case <-m.stuck:
			r.p.doNow(func() { m.to.why = "it did not answer while connections were moved to it" })
			m.to.proc.kill() // the giver sees the end of the socketpair, and goes on with what was under way
		case <-m.from.done:
			return r.orphans(m)
		case <-tick.C:
			r.report(StepMoving, m)
		}
	}
}

// orphans tells of a move whose giver has died: the taker has adopted what had reached the socketpair.
func (r *roll) orphans(m *move) MoveResult {
	select {
	case g := <-m.given: // its last word
		if g.Error == "" {
			return g
		}
	default:
	}
	out := r.awaitTaken(m)
	out.Error = fmt.Sprintf("worker %d died while its connections were moved", m.from.slot)
	return out
}

// awaitTaken waits for the taker's word.
func (r *roll) awaitTaken(m *move) MoveResult {
	for {
		select {
		case t := <-m.taken:
			return t
		case <-m.to.done:
			return MoveResult{Error: fmt.Sprintf("worker %d died while connections were moved to it", m.to.slot)}
		}
	}
}

// awaitLetGo waits until the taker of a move that has failed knows it, and is free for another. One that does not hear
// is ended.
func (r *roll) awaitLetGo(m *move) {
	t := time.AfterFunc(letGo, func() {
		r.p.doNow(func() { m.to.why = "it did not answer after a failed move" })
		m.to.proc.kill()
	})
	defer t.Stop()
	r.awaitTaken(m)
}

// failed puts the routes of a move back.
func (r *roll) failed(m *move, res MoveResult) error {
	r.p.doNow(func() {
		m.from.state.CompareAndSwap(uint32(StateMoving), uint32(StateReady))
		r.p.route(m, MoveFailed)
	})
	return fmt.Errorf("%w: %s", ErrMove, res.Error)
}

// route tells the application that messages to connections take another way. On the run loop.
func (p *Primary) route(m *move, step MoveStep) {
	if p.cfg.OnMove != nil {
		p.cfg.OnMove(MoveEvent{Step: step, From: m.from, To: m.to, Whole: m.Count < 0})
	}
}

// replace puts a worker of the program on disk in the place of the one that a slot has, and moves its connections.
func (r *roll) replace(ctx context.Context, s *slot, canary time.Duration) error {
	old, next, err := r.succeed(ctx, s)
	if err != nil {
		return err
	}
	p := r.p
	r.slot, r.generation = s.number, next.generation
	r.report(StepStarting, nil)
	if err := r.awaitReady(next); err != nil || old == nil {
		if err != nil {
			p.doNow(r.undo)
		}
		return err
	}
	if err := serve(ctx, next, canary); err != nil {
		return r.abandon(old, next, err)
	}
	p.doNow(func() { p.disp.pause(old) })
	r.report(StepMoving, nil)
	res, err := r.move(Move{Count: -1, Leave: true}, old, next)
	r.add(res)
	switch {
	case err == nil:
	case res.Unsupported:
		p.doNow(func() { p.promote(next) })
	case old.IsDead(): // the next one has what could be saved, and the slot
	default:
		return r.abandon(old, next, err)
	}
	r.report(StepDraining, nil)
	r.retire(old)
	return nil
}

// succeed starts a successor of the worker that a slot has; old is nil if it has none. A worker that has just been
// started in place of one that died is waited for.
func (r *roll) succeed(ctx context.Context, s *slot) (old, next *Worker, err error) {
	p := r.p
	r.undo = func() {}
	p.doNow(func() {
		switch old = s.worker; {
		case p.stopping:
			err = ErrStopped
		case !slices.Contains(p.slots, s):
			err = errGone
		case old == nil: // it has crashed, and is not to be waited for
			s.history = history{}
			if s.timer != nil {
				s.timer.Stop()
			}
			before := s.program
			if r.program != nil {
				s.program = r.program
			}
			if err = p.launch(s); err == nil {
				next = s.worker
			}
			r.undo = func() { s.program = before }
		case old.State() == StateStarting:
		case old.State() != StateReady:
			err = fmt.Errorf("cluster: worker %d is %s: wait until it is ready", s.number, old.State())
		default:
			next, err = p.succeed(s, r.program)
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
	return r.succeed(ctx, s)
}

// awaitReady waits until a worker serves.
func (r *roll) awaitReady(w *Worker) error {
	select {
	case <-w.ready:
		return nil
	case <-w.done:
		return w.startError()
	}
}

// serve watches a worker for a while.
func serve(ctx context.Context, w *Worker, long time.Duration) error {
	t := time.NewTimer(long)
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

// startError tells of the end of a worker that has just begun.
func (w *Worker) startError() *StartError {
	return &StartError{Slot: w.slot, Err: w.exit, Reason: w.why, Stderr: w.stderr.String()}
}

// abandon ends a successor that could not take over: the old worker goes on. Clients that came to the successor
// meanwhile move to the old one; those that cannot are drained.
func (r *roll) abandon(old, next *Worker, why error) error {
	p := r.p
	p.doNow(func() {
		next.wanted = true
		p.disp.pause(next)
		p.disp.resume(old)
		_ = old.link.send(kindStay, nil) // one that is gone does not
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

// retire ends a worker whose connections have moved. What could not move is drained.
func (r *roll) retire(old *Worker) {
	r.p.doNow(func() {
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

// drainGrace is how long a worker may stay after the time that it had to drain.
const drainGrace = time.Second

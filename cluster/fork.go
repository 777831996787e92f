package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Fork starts one more worker, beyond those of Config.Workers, and returns when its process runs; EventReady tells when
// it serves. Its slot is the lowest number that is free. env is added to its environment, and to that of the workers
// which replace it when it dies: for that it is a worker like the others. It fails with ErrStopped after Drain or Stop.
func (p *Primary) Fork(env ...string) (*Worker, error) {
	type result struct {
		w   *Worker
		err error
	}
	done := make(chan result, 1)
	p.do(func() {
		w, err := p.fork(slices.Clone(env))
		done <- result{w, err}
	})
	select {
	case r := <-done:
		return r.w, r.err
	case <-p.ended:
	}
	select {
	case r := <-done: // it came first
		return r.w, r.err
	default:
		return nil, ErrStopped
	}
}

// fork is Fork on the run loop.
func (p *Primary) fork(env []string) (*Worker, error) {
	switch {
	case p.stopping:
		return nil, ErrStopped
	case len(p.slots) >= MaxWorkers:
		return nil, fmt.Errorf("cluster: %d workers is the limit", MaxWorkers)
	}
	s := p.addSlot(env)
	err := p.listenMore(s)
	if err == nil {
		err = p.launch(s)
	}
	if err != nil {
		p.dropSlot(s)
		return nil, &StartError{Slot: s.number, Err: err}
	}
	return s.worker, nil
}

// addSlot makes a slot with the lowest number that is free.
func (p *Primary) addSlot(env []string) *slot {
	at := 0
	for at < len(p.slots) && p.slots[at].number == at+1 {
		at++
	}
	s := &slot{number: at + 1, env: env}
	p.slots = slices.Insert(p.slots, at, s)
	p.judge()
	return s
}

// dropSlot gives a slot's number free. With None its listening socket stays, and the primary accepts from it.
func (p *Primary) dropSlot(s *slot) {
	if s.timer != nil {
		s.timer.Stop()
	}
	p.vacate(s)
	if i := slices.Index(p.slots, s); i >= 0 {
		p.slots = slices.Delete(p.slots, i, i+1)
		p.judge()
		p.roster.clear(s.number)
	}
}

// listenMore gives a new slot a listening socket of its own, when slots have them.
func (p *Primary) listenMore(s *slot) error {
	if p.cfg.Scheduling != None || len(p.acceptors) == 0 || s.number <= len(p.acceptors) {
		return nil
	}
	ln, err := listenShared(context.Background(), p.Addr().String())
	if err != nil {
		return err
	}
	a, err := newAcceptor(ln, p.disp)
	if err != nil {
		_ = ln.Close()
		return err
	}
	p.acceptors = append(p.acceptors, a)
	go a.run() // ends with close
	p.vacate(s)
	return nil
}

// launch starts the process of a slot that has none.
func (p *Primary) launch(s *slot) error {
	w, err := p.bear(s, s.program)
	if err == nil {
		s.worker = w
		p.tell(Event{Kind: EventFork, Worker: w})
	}
	return err
}

// succeed starts a process that is to take the place of a slot's worker. A nil program is that of the slot.
func (p *Primary) succeed(s *slot, of *program) (*Worker, error) {
	if p.stopping {
		return nil, ErrStopped
	}
	if of == nil {
		of = s.program
	}
	w, err := p.bear(s, of)
	if err != nil {
		return nil, &StartError{Slot: s.number, Err: err}
	}
	s.next = w
	p.tell(Event{Kind: EventFork, Worker: w})
	return w, nil
}

// promote gives a worker its slot.
func (p *Primary) promote(w *Worker) {
	s := w.at
	if s.next != w {
		return
	}
	s.next, s.worker, s.program = nil, w, w.program
	if p.cfg.Scheduling == None && s.number <= len(p.acceptors) {
		p.acceptors[s.number-1].set(false) // it accepts by itself
	}
}

// discard gives up a slot whose worker does not serve.
func (p *Primary) discard(s *slot) {
	if s.worker == nil {
		p.dropSlot(s)
		return
	}
	s.worker.dismissed, s.worker.wanted = true, true
	s.worker.proc.kill()
}

// bear starts a process for a slot. A nil program is that of the primary.
func (p *Primary) bear(s *slot, of *program) (*Worker, error) {
	if of == nil {
		of = p.programs.current
	}
	p.nextID++
	s.generation++
	b := birth{
		settings: p.Settings(), program: of, env: s.env, queue: p.cfg.QueueLimit, outlets: &p.outlets,
		role: role{slot: s.number, slots: len(p.slots), generation: s.generation, id: p.nextID},
	}
	if p.cfg.Scheduling == None && s.number <= len(p.acceptors) {
		b.listener = p.acceptors[s.number-1].ln
	}
	w, err := spawn(b)
	if err != nil {
		return nil, err
	}
	w.primary, w.at, w.program = p, s, of
	p.alive++
	p.roster.enter(w)
	w.timer = time.AfterFunc(p.cfg.StartTimeout, func() { p.do(func() { p.tooSlow(w) }) })
	read := make(chan struct{})
	go p.listenTo(w, read) // ends with the worker, or when it leaves
	go p.await(s, w, read) // ends with the worker
	return w, nil
}

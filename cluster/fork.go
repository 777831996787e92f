package cluster

import (
	"fmt"
	"slices"
	"time"
)

// The methods of this file start processes in slots, and add and remove slots. They belong to the loop.

// fork is Primary.Fork.
func (s *supervisor) fork(env []string) (*Worker, error) {
	switch {
	case s.stopping:
		return nil, ErrStopped
	case len(s.slots) >= MaxWorkers:
		return nil, fmt.Errorf("cluster: the limit is %d workers", MaxWorkers)
	}
	at := s.slots.add(slices.Clone(env))
	s.updateRefusing()
	err := s.acceptors.grow(at.number)
	if err == nil {
		s.acceptFor(at)
		err = s.launch(at)
	}
	if err != nil {
		s.dropSlot(at)
		return nil, &StartError{Slot: at.number, Err: err}
	}
	return at.worker, nil
}

// dropSlot removes a slot, whose number is free then. With None its listening socket stays open, and the primary
// accepts from it.
func (s *supervisor) dropSlot(at *slot) {
	at.stopTimer()
	s.acceptFor(at)
	if s.slots.remove(at) {
		s.updateRefusing()
		s.roster.clear(at.number)
	}
}

// launch starts the worker of a slot that has none.
func (s *supervisor) launch(at *slot) error {
	w, err := s.startProcess(at, at.program)
	if err == nil {
		at.worker = w
		s.emit(Event{Kind: EventFork, Worker: w})
	}
	return err
}

// launchSuccessor starts a worker that is to replace the one of a slot. A nil program is that of the slot.
func (s *supervisor) launchSuccessor(at *slot, of *program) (*Worker, error) {
	if s.stopping {
		return nil, ErrStopped
	}
	if of == nil {
		of = at.program
	}
	w, err := s.startProcess(at, of)
	if err != nil {
		return nil, &StartError{Slot: at.number, Err: err}
	}
	at.next = w
	s.emit(Event{Kind: EventFork, Worker: w})
	return w, nil
}

// startProcess starts a process for a slot. A nil program is that of the primary.
func (s *supervisor) startProcess(at *slot, of *program) (*Worker, error) {
	s.nextID++
	at.generation++
	r := role{slot: at.number, slots: len(s.slots), generation: at.generation, id: s.nextID}
	w, err := s.launcher.start(r, at.env, of, s.acceptors.sockets(at.number))
	if err != nil {
		return nil, err
	}
	s.acceptors.introduce(w)
	s.alive++
	s.register(w, at)
	s.roster.add(w)
	s.watch(w)
	return w, nil
}

// register connects a worker with its slot, and starts the timer of its start.
func (s *supervisor) register(w *Worker, at *slot) {
	w.sup, w.at = s, at
	w.timer = time.AfterFunc(s.cfg.StartTimeout, func() { s.loop.post(func() { s.startTimedOut(w) }) })
}

// watch starts the goroutines that read from a worker and wait for its exit.
func (s *supervisor) watch(w *Worker) {
	finished := make(chan struct{})
	go s.read(w, finished)        // ends with the worker, or when it disconnects
	go s.await(w.at, w, finished) // ends with the worker
}

// promote makes a successor the worker of its slot.
func (s *supervisor) promote(w *Worker) {
	at := w.at
	if at.next != w {
		return
	}
	at.next, at.worker, at.program = nil, w, w.program
	s.acceptors.setSlot(at.number, false) // the worker accepts itself
}

// discard removes a slot whose worker is not ready.
func (s *supervisor) discard(at *slot) {
	if at.worker == nil {
		s.dropSlot(at)
		return
	}
	at.worker.dismissed, at.worker.wanted = true, true
	at.worker.proc.kill()
}

// dismiss asks a worker to exit for good: it is not replaced.
func (s *supervisor) dismiss(w *Worker, left time.Duration) {
	at := w.at
	if at.worker != w || s.stopping {
		return
	}
	w.dismissed = true
	w.timer.Stop()
	s.disp.pause(w)
	s.acceptFor(at)
	w.ask(left)
}

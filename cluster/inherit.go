package cluster

import (
	"errors"
	"fmt"
	"slices"
)

// startInherited continues where the previous program stopped.
func (s *supervisor) startInherited(i *Inheritance) error {
	if err := s.inherit(i); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	s.begin()
	s.loop.post(s.resume)
	return <-s.started
}

// inherit takes over everything that the inheritance names. It must be called before the loop runs.
func (s *supervisor) inherit(i *Inheritance) error {
	h := i.h
	s.generation, s.nextID = i.Generation(), h.NextID
	s.moves.ids.Store(h.MoveIDs)
	s.rolls.totals = h.Rolled
	s.disp.stats = h.Stats
	s.handlesLost.Store(h.Stats.HandlesLost)
	s.roster.restarts, s.roster.overload = h.Stats.Restarts, h.Stats.Overloads
	if err := s.inheritListeners(h); err != nil {
		return err
	}
	for _, socket := range h.Shared {
		if err := s.shared.inherit(socket); err != nil {
			return err
		}
	}
	for _, b := range h.Slots {
		at := &slot{number: b.Number, generation: b.Generation, env: b.Env}
		at.crashes.Store(b.Crashes)
		s.slots = append(s.slots, at)
	}
	for _, b := range h.Workers {
		w, err := s.launcher.inherit(b)
		if err != nil {
			return fmt.Errorf("worker %d: %w", b.Slot, err)
		}
		at := s.slots.get(b.Slot)
		s.register(w, at)
		if b.State != StateStarting {
			w.timer.Stop()
		}
		at.worker = w
	}
	for _, fd := range h.Files {
		closeFD(fd) // the application did not ask for it
	}
	clear(h.Files) // the numbers will be reused for other files
	return nil
}

// resume lists the inherited workers and starts those that are missing. Only then does it read from any of them,
// because a message from one worker may be for another. It is the first function on the loop.
func (s *supervisor) resume() {
	s.unready = 0
	before := s.nextID
	for _, at := range slices.Clone(s.slots) {
		w := at.worker
		if w == nil {
			s.respawn(at)
			continue
		}
		s.alive++
		s.roster.add(w)
		s.emit(Event{Kind: EventInherit, Worker: w})
	}
	for _, w := range s.roster.workers() {
		if w.at.worker != w || w.id > before { // just started
			continue
		}
		if state := w.State(); state == StateReady || state == StateMoving {
			s.disp.add(w)
		}
		s.watch(w)
	}
	s.openSlots()
	allowSignals()
	s.started <- nil
}

// inherit takes over a shared socket.
func (s *shared) inherit(b inheritedSocket) error {
	h := makeHandle(b.Kind, b.FD)
	if h == nil {
		return errors.Join(errInheritance, errors.New("shared socket"))
	}
	if s.sockets == nil {
		s.sockets = make(map[string]*sharedSocket)
	}
	at := &sharedSocket{handle: h, users: make(map[uint64]struct{})}
	for _, id := range b.Users {
		at.users[id] = struct{}{}
	}
	s.sockets[b.Key] = at
	return nil
}

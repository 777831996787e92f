package cluster

import (
	"slices"
	"sync"
)

// roster is who works for a primary.
type roster struct {
	mu       sync.RWMutex
	bySlot   []*Worker          // of each slot the last one, and those beside it that live, in the order of slots
	byID     map[uint64]*Worker // those whose exit was not told yet
	restarts uint64
	overload uint64 // of workers that are in bySlot no more
}

// enter puts a worker in the place of the last one of its slot or, if that lives, behind it.
func (r *roster) enter(w *Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[uint64]*Worker)
	}
	r.byID[w.id] = w
	r.drop(func(old *Worker) bool { return old.slot == w.slot && old.State() == StateDead })
	i, _ := slices.BinarySearchFunc(r.bySlot, w.slot+1, func(w *Worker, slot int) int { return w.slot - slot })
	r.bySlot = slices.Insert(r.bySlot, i, w)
}

// drop takes workers off the list of slots. With r.mu held.
func (r *roster) drop(these func(*Worker) bool) {
	r.bySlot = slices.DeleteFunc(r.bySlot, func(w *Worker) bool {
		if these(w) {
			r.overload += w.Overloads()
			return true
		}
		return false
	})
}

// restarted counts a worker that was started in place of one that had died.
func (r *roster) restarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts++
}

// ended forgets the id of a worker.
func (r *roster) ended(w *Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, w.id)
	others := func(o *Worker) bool { return o != w && o.slot == w.slot }
	if slices.ContainsFunc(r.bySlot, others) {
		r.drop(func(o *Worker) bool { return o == w })
	}
}

// clear forgets the last worker of a slot.
func (r *roster) clear(slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(func(w *Worker) bool { return w.slot == slot })
}

// last is the last worker of a slot; nil if there was none.
func (r *roster) last(slot int) *Worker {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, w := range slices.Backward(r.bySlot) {
		if w.slot == slot {
			return w
		}
	}
	return nil
}

// count adds what the roster counts.
func (r *roster) count(s *Stats) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.Restarts = r.restarts
	s.Overloads = r.overload
	for _, w := range r.bySlot {
		s.Overloads += w.Overloads()
	}
}

// Workers are the workers of all slots in their order; of a slot that is empty the one that has died, in StateDead, and
// while one worker replaces another both of them. A
// worker that was disconnected on purpose leaves the list with its exit.
func (p *Primary) Workers() []*Worker {
	p.roster.mu.RLock()
	defer p.roster.mu.RUnlock()
	return slices.Clone(p.roster.bySlot)
}

// Worker is the worker with an id; nil if there is none. A worker is found from before its EventFork until before its
// EventExit, which is the last that is told of it, after EventDisconnect.
func (p *Primary) Worker(id uint64) *Worker {
	p.roster.mu.RLock()
	defer p.roster.mu.RUnlock()
	return p.roster.byID[id]
}

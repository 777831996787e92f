package cluster

import (
	"slices"
	"sync"
)

// roster lists the workers of a primary for readers on any goroutine. The loop changes it.
type roster struct {
	mu       sync.RWMutex
	bySlot   []*Worker          // in the order of slots: the last worker of each, and all others that live
	byID     map[uint64]*Worker // those whose EventExit was not sent yet
	restarts uint64
	overload uint64 // of workers that are no longer in bySlot
}

// add lists a worker in place of the last one of its slot or, if that one lives, after it.
func (r *roster) add(w *Worker) {
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

// drop removes workers from bySlot. r.mu must be held.
func (r *roster) drop(these func(*Worker) bool) {
	r.bySlot = slices.DeleteFunc(r.bySlot, func(w *Worker) bool {
		if these(w) {
			r.overload += w.Overloads()
			return true
		}
		return false
	})
}

// restarted counts a worker that was started in place of one that died.
func (r *roster) restarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts++
}

// ended removes a worker that has ended, except that a slot without other workers keeps its last one in bySlot.
func (r *roster) ended(w *Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, w.id)
	others := func(o *Worker) bool { return o != w && o.slot == w.slot }
	if slices.ContainsFunc(r.bySlot, others) {
		r.drop(func(o *Worker) bool { return o == w })
	}
}

// clear removes all workers of a slot from bySlot.
func (r *roster) clear(slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(func(w *Worker) bool { return w.slot == slot })
}

// last returns the last worker of a slot; nil if there was none.
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

// workers returns a copy of bySlot.
func (r *roster) workers() []*Worker {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.bySlot)
}

// get returns the worker with an id; nil if there is none.
func (r *roster) get(id uint64) *Worker {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

// count fills in the counters of the roster.
func (r *roster) count(s *Stats) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.Restarts = r.restarts
	s.Overloads = r.overload
	for _, w := range r.bySlot {
		s.Overloads += w.Overloads()
	}
}

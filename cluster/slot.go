package cluster

import (
	"slices"
	"sync/atomic"
	"time"
)

// slot is the place of a worker. It keeps its number while one worker follows another.
type slot struct {
	number     int
	generation int      // number of processes that were started in it
	env        []string // of its workers, in addition to Settings.Env
	program    *program // of its worker; nil is the primary's
	worker     *Worker  // nil while there is none
	next       *Worker  // about to replace worker; nil most of the time
	crashes    atomic.Uint64
	history    history
	down       bool        // it crashed and its next start was not due soon; false again once a worker is ready
	timer      *time.Timer // of the next start
}

// stopTimer cancels the next start.
func (s *slot) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// slotTable lists slots by ascending number.
type slotTable []*slot

// add makes a slot with the lowest free number.
func (t *slotTable) add(env []string) *slot {
	at := 0
	for at < len(*t) && (*t)[at].number == at+1 {
		at++
	}
	s := &slot{number: at + 1, env: env}
	*t = slices.Insert(*t, at, s)
	return s
}

// remove removes a slot and reports whether it was in the table.
func (t *slotTable) remove(s *slot) bool {
	i := slices.Index(*t, s)
	if i < 0 {
		return false
	}
	*t = slices.Delete(*t, i, i+1)
	return true
}

// get returns the slot with a number; nil if there is none.
func (t slotTable) get(number int) *slot {
	for _, s := range t {
		if s.number == number {
			return s
		}
	}
	return nil
}

// allDown reports whether there are slots and all of them are down.
func (t slotTable) allDown() bool {
	return len(t) > 0 && !slices.ContainsFunc(t, func(s *slot) bool { return !s.down })
}

// ready returns the workers that are in StateReady.
func (t slotTable) ready() (list []*Worker) {
	for _, s := range t {
		if s.worker != nil && s.worker.State() == StateReady {
			list = append(list, s.worker)
		}
	}
	return list
}

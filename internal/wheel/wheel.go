package wheel

import (
	"math"
	"time"
)

// Wheel is a hashed timing wheel. New returns one; the zero value is not ready for use.
//
// A slot is a circular list that begins at a sentinel. The sentinels are the first entries of the table, and those of
// the indexes follow. An entry can therefore leave its list without knowing its slot.
type Wheel struct {
	entries []entry
	slots   uint32
	tick    uint64
	origin  int64  // time of tick 0
	now     int64  // time of the last Advance
	cur     uint64 // last tick that was walked
	next    uint64 // nothing is due before this tick
	exact   bool   // something is due at this tick, unless it was cleared
	size    int
}

// entry is an element of a list. Its deadline is unset while it is in none.
type entry struct {
	next, prev uint32
	at         int64
}

// unset is the deadline of an index without one.
const unset = math.MinInt64

// Lists after the slots, counted from the number of slots.
const (
	overdue  = iota // deadlines that had passed when they were set
	firing          // what the running Advance still has to fire
	numExtra        // not a list
)

// New returns an empty wheel that starts at now. A deadline fires at most one tick late. A revolution takes slots
// ticks; entries beyond it are visited once per revolution, so it should be longer than most deadlines. A tick below
// one nanosecond counts as one, and so does a number of slots below one.
func New(tick time.Duration, slots int, now int64) *Wheel {
	w := &Wheel{slots: uint32(max(slots, 1)), tick: uint64(max(tick, 1)), origin: now, now: now, next: math.MaxUint64}
	w.entries = make([]entry, w.slots+numExtra)
	for i := range w.entries {
		w.entries[i] = entry{next: uint32(i), prev: uint32(i), at: unset}
	}
	return w
}

// Len returns the number of indexes with a deadline.
func (w *Wheel) Len() int { return w.size }

// Set sets the deadline of i and replaces its previous one. A deadline that has passed fires in the next Advance. The
// tables grow to include i, so indexes should be small.
func (w *Wheel) Set(i uint32, at int64) {
	n := w.slots + numExtra + i
	w.grow(int(n) + 1)
	if w.entries[n].at == unset {
		w.size++
	} else {
		w.unlink(n)
	}
	at = max(at, unset+1)
	w.entries[n].at = at
	list := w.slots + overdue
	if at > w.now { // so the tick at which it is due is after the current one
		t := w.due(at)
		list = uint32(t % uint64(w.slots))
		w.next = min(w.next, t)
	}
	w.link(list, n)
}

// Clear removes the deadline of i, if it has one.
func (w *Wheel) Clear(i uint32) {
	if n := w.find(i); n != 0 {
		w.unlink(n)
		w.entries[n].at = unset
		w.size--
	}
}

// Deadline returns the deadline of i. It reports false if there is none.
func (w *Wheel) Deadline(i uint32) (int64, bool) {
	if n := w.find(i); n != 0 {
		return w.entries[n].at, true
	}
	return 0, false
}

// Advance moves the time to now and calls fire once for every deadline that has passed, roughly in the order of time:
// never before the deadline, and at most one tick after it. When fire is called, the deadline of i is no longer set. A
// deadline that fire sets fires in a later Advance, even if it has passed. The work is bounded by one revolution and
// the number of entries, however far the clock has moved. If now is before the previous one, it counts as the previous
// one.
func (w *Wheel) Advance(now int64, fire func(i uint32)) {
	w.now = max(w.now, now)
	to := (uint64(w.now) - uint64(w.origin)) / w.tick
	w.collect(w.slots+overdue, math.MaxUint64)
	if to >= w.next {
		for t := w.cur + 1; t <= to && t <= w.cur+uint64(w.slots); t++ {
			w.collect(uint32(t%uint64(w.slots)), to)
		}
		w.next, w.exact = to+1, false
	}
	w.cur = to
	head := w.slots + firing
	for n := w.entries[head].next; n != head; n = w.entries[head].next {
		w.unlink(n)
		w.entries[n].at = unset
		w.size--
		fire(n - w.slots - numExtra)
	}
}

// Wait returns the number of nanoseconds after now until Advance may have something to fire, or -1 if no deadline is
// set. The result ends at a tick. It is too short only if a deadline was cleared or replaced meanwhile.
func (w *Wheel) Wait(now int64) int64 {
	if w.size == 0 {
		return -1
	}
	if head := w.slots + overdue; w.entries[head].next != head {
		return 0
	}
	if !w.exact {
		w.next, w.exact = w.earliest(), true
	}
	if w.next == math.MaxUint64 {
		return 0 // only while Advance fires: the rest is due
	}
	return max(w.origin+int64(w.next*w.tick)-now, 0)
}

// earliest returns the first tick at which something in a slot is due. If nothing is due within a revolution, it visits
// all entries, but then the tick is far away.
func (w *Wheel) earliest() uint64 {
	first := uint64(math.MaxUint64)
	for t := w.cur + 1; t <= w.cur+uint64(w.slots); t++ {
		head := uint32(t % uint64(w.slots))
		for n := w.entries[head].next; n != head; n = w.entries[n].next {
			d := w.due(w.entries[n].at)
			if d <= t {
				return t
			}
			first = min(first, d)
		}
	}
	return first
}

// due returns the first tick at which at has passed. at must be after the origin.
func (w *Wheel) due(at int64) uint64 {
	return (uint64(at)-uint64(w.origin)-1)/w.tick + 1
}

// collect moves what is due at tick to from a list to the firing list.
func (w *Wheel) collect(list uint32, to uint64) {
	for n := w.entries[list].next; n != list; {
		next := w.entries[n].next
		if to == math.MaxUint64 || w.due(w.entries[n].at) <= to {
			w.unlink(n)
			w.link(w.slots+firing, n)
		}
		n = next
	}
}

// find returns the entry of i if it has a deadline, or else 0, which is a sentinel.
func (w *Wheel) find(i uint32) uint32 {
	n := uint64(w.slots) + numExtra + uint64(i)
	if n >= uint64(len(w.entries)) || w.entries[n].at == unset {
		return 0
	}
	return uint32(n)
}

func (w *Wheel) link(list, n uint32) {
	last := w.entries[list].prev
	w.entries[n].next, w.entries[n].prev = list, last
	w.entries[last].next = n
	w.entries[list].prev = n
}

func (w *Wheel) unlink(n uint32) {
	e := &w.entries[n]
	w.entries[e.prev].next = e.next
	w.entries[e.next].prev = e.prev
}

// grow makes room for at least size entries, by doubling.
func (w *Wheel) grow(size int) {
	if size <= len(w.entries) {
		return
	}
	grown := make([]entry, max(size, 2*len(w.entries)))
	for i := copy(grown, w.entries); i < len(grown); i++ {
		grown[i].at = unset
	}
	w.entries = grown
}

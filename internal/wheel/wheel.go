package wheel

import (
	"math"
	"time"
)

// Wheel is a hashed timing wheel. New makes one; the zero value is not ready for use.
//
// A slot is a circular list that begins at a sentinel. The sentinels are the first nodes of the table, the nodes of the
// indexes follow, so that taking a node out of its list needs no knowledge of the slot.
type Wheel struct {
	nodes  []node
	slots  uint32
	tick   uint64
	origin int64  // the time of tick 0
	now    int64  // of the last Advance
	cur    uint64 // the last tick that was walked
	next   uint64 // nothing is due before this tick
	exact  bool   // something is due at it, unless that was cleared
	size   int
}

// node is an entry of a list. Its deadline is unset while it is in none.
type node struct {
	next, prev uint32
	at         int64
}

// unset is the deadline of an index that has none.
const unset = math.MinInt64

// Lists beside the slots, counted from the number of slots.
const (
	overdue  = iota // deadlines that had passed when they were set
	firing          // what the running Advance has still to fire
	numExtra        // not a list
)

// New makes an empty wheel whose hands stand at now. A deadline fires at most one tick late. A revolution is slots
// ticks; entries beyond it are passed over once per revolution, so it should be longer than most deadlines are away.
// A tick below one nanosecond counts as one, and so does a number of slots below one.
func New(tick time.Duration, slots int, now int64) *Wheel {
	w := &Wheel{slots: uint32(max(slots, 1)), tick: uint64(max(tick, 1)), origin: now, now: now, next: math.MaxUint64}
	w.nodes = make([]node, w.slots+numExtra)
	for i := range w.nodes {
		w.nodes[i] = node{next: uint32(i), prev: uint32(i), at: unset}
	}
	return w
}

// Len is the number of indexes that have a deadline.
func (w *Wheel) Len() int { return w.size }

// Set gives i the deadline at, instead of the one it had. A deadline that has passed fires at the next Advance. The
// tables grow to hold i: indexes should be small.
func (w *Wheel) Set(i uint32, at int64) {
	n := w.slots + numExtra + i
	w.grow(int(n) + 1)
	if w.nodes[n].at == unset {
		w.size++
	} else {
		w.unlink(n)
	}
	at = max(at, unset+1)
	w.nodes[n].at = at
	list := w.slots + overdue
	if at > w.now {
		if t := w.due(at); t > w.cur {
			list = uint32(t % uint64(w.slots))
			w.next = min(w.next, t)
		}
	}
	w.link(list, n)
}

// Clear takes the deadline of i away, if it has one.
func (w *Wheel) Clear(i uint32) {
	if n := w.find(i); n != 0 {
		w.unlink(n)
		w.nodes[n].at = unset
		w.size--
	}
}

// Deadline is the time that was set for i; false if there is none.
func (w *Wheel) Deadline(i uint32) (int64, bool) {
	if n := w.find(i); n != 0 {
		return w.nodes[n].at, true
	}
	return 0, false
}

// Advance moves the hands to now and calls fire for every deadline that has come, once each, in about the order of
// time: never before its time, and at most one tick after it. When fire is called, the deadline of i is no longer set.
// What fire sets fires in a later Advance, even if its time has passed. The work is bounded by one revolution and the
// number of entries, however far the clock has moved. A now before the previous one counts as the previous one.
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
	for n := w.nodes[head].next; n != head; n = w.nodes[head].next {
		w.unlink(n)
		w.nodes[n].at = unset
		w.size--
		fire(n - w.slots - numExtra)
	}
}

// Wait is the number of nanoseconds after now until an Advance may have something to fire, or -1 if no deadline is set.
// It ends with a tick, and is too short only for a deadline that was cleared or set anew meanwhile.
func (w *Wheel) Wait(now int64) int64 {
	if w.size == 0 {
		return -1
	}
	if head := w.slots + overdue; w.nodes[head].next != head {
		return 0
	}
	if !w.exact {
		w.next, w.exact = w.earliest(), true
	}
	if w.next == math.MaxUint64 {
		return 0 // only while Advance fires: what is left is due
	}
	return max(w.origin+int64(w.next*w.tick)-now, 0)
}

// earliest is the first tick at which something in a slot is due. It goes through all entries if none is due within a
// revolution, but then it is far away.
func (w *Wheel) earliest() uint64 {
	first := uint64(math.MaxUint64)
	for t := w.cur + 1; t <= w.cur+uint64(w.slots); t++ {
		head := uint32(t % uint64(w.slots))
		for n := w.nodes[head].next; n != head; n = w.nodes[n].next {
			d := w.due(w.nodes[n].at)
			if d <= t {
				return t
			}
			first = min(first, d)
		}
	}
	return first
}

// due is the first tick at which at has passed. At must be after the origin.
func (w *Wheel) due(at int64) uint64 {
	return (uint64(at)-uint64(w.origin)-1)/w.tick + 1
}

// collect moves what is due at tick to from a list to the one that is firing.
func (w *Wheel) collect(list uint32, to uint64) {
	for n := w.nodes[list].next; n != list; {
		next := w.nodes[n].next
		if to == math.MaxUint64 || w.due(w.nodes[n].at) <= to {
			w.unlink(n)
			w.link(w.slots+firing, n)
		}
		n = next
	}
}

// find is the node of i if it has a deadline, else 0, which is a sentinel's.
func (w *Wheel) find(i uint32) uint32 {
	n := uint64(w.slots) + numExtra + uint64(i)
	if n >= uint64(len(w.nodes)) || w.nodes[n].at == unset {
		return 0
	}
	return uint32(n)
}

func (w *Wheel) link(list, n uint32) {
	last := w.nodes[list].prev
	w.nodes[n].next, w.nodes[n].prev = list, last
	w.nodes[last].next = n
	w.nodes[list].prev = n
}

func (w *Wheel) unlink(n uint32) {
	e := &w.nodes[n]
	w.nodes[e.prev].next = e.next
	w.nodes[e.next].prev = e.prev
}

// grow makes room for at least size nodes, by doubling.
func (w *Wheel) grow(size int) {
	if size <= len(w.nodes) {
		return
	}
	grown := make([]node, max(size, 2*len(w.nodes)))
	for i := copy(grown, w.nodes); i < len(grown); i++ {
		grown[i].at = unset
	}
	w.nodes = grown
}

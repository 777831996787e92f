package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

// keptGenerations is the number of generations of a slot that are kept apart, so that a late report of an old process
// replaces its previous one instead of being lost. During a handoff, two are running.
const keptGenerations = 4

// SlotReport is the latest report of a worker, and the worker's identity.
type SlotReport struct {
	Slot       int    // from 1
	Generation int    // of the process in the slot; must grow at each replacement
	PID        int    // for people; not used in computations
	State      string // a state of package control
	Stale      bool   // the process did not answer: the report is its last one, if any
	Report
}

// Totals adds up what the workers of each slot have done, so that no count decreases when a process is replaced. The
// zero value is empty and ready. Add each report as it arrives: what a process does between its last report and its end
// is lost. Its methods are safe for concurrent use.
type Totals struct {
	mu    sync.Mutex
	slots map[int]*slot
}

// slot has the reports of the processes of one slot.
type slot struct {
	gone   Report         // counters of the generations up to folded
	folded int            // the newest generation in gone
	recent map[int]Report // counters of the newest generations, by generation
	own    Report         // see Totals.SetOwn
}

// Add adds a report, which replaces an earlier one of the same slot and generation. It ignores reports of generations
// that were replaced long ago. It keeps no reference to the maps of the report.
func (t *Totals) Add(s SlotReport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.slotLocked(s.Slot)
	if s.Generation <= l.folded {
		return
	}
	// Take the larger count, not the later: two scrapes at once may deliver reports out of order.
	l.recent[s.Generation] = l.recent[s.Generation].merge(s.Report, larger)
	for len(l.recent) > keptGenerations {
		oldest := slices.Min(slices.Collect(maps.Keys(l.recent)))
		l.gone = l.gone.merge(l.recent[oldest], added)
		l.folded = oldest
		delete(l.recent, oldest)
	}
}

// SetOwn sets the counters that a slot has in addition to those of its processes. The caller adds them up; each call
// replaces what the previous one set.
func (t *Totals) SetOwn(slot int, w Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slotLocked(slot).own = w
}

func (t *Totals) slotLocked(n int) *slot {
	if t.slots == nil {
		t.slots = make(map[int]*slot)
	}
	l := t.slots[n]
	if l == nil {
		l = &slot{folded: math.MinInt, recent: make(map[int]Report, keptGenerations)}
		t.slots[n] = l
	}
	return l
}

// Slots returns the slots that have ever reported, in order.
func (t *Totals) Slots() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.slots))
}

// Slot returns what all processes of a slot have done together, with gauges of zero. For a slot that has never
// reported, it returns the zero value.
func (t *Totals) Slot(n int) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.slots[n]
	if l == nil {
		return Report{}
	}
	return l.sum()
}

// Sum returns what all processes of all slots have done together, with gauges of zero.
func (t *Totals) Sum() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	var w Report
	for _, l := range t.slots {
		w = w.merge(l.sum(), added)
	}
	return w
}

// totalsJSON is the JSON of Totals.
type totalsJSON map[int]slotState

type slotState struct {
	Gone   Report         `json:"gone"`
	Folded int            `json:"folded"`
	Recent map[int]Report `json:"recent"`
}

// MarshalJSON encodes the totals for a program that continues with them.
func (t *Totals) MarshalJSON() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := make(totalsJSON, len(t.slots))
	for n, l := range t.slots {
		st[n] = slotState{Gone: l.gone, Folded: l.folded, Recent: l.recent}
	}
	return json.Marshal(st)
}

// UnmarshalJSON continues with what MarshalJSON wrote.
func (t *Totals) UnmarshalJSON(b []byte) error {
	var st totalsJSON
	if err := json.Unmarshal(b, &st); err != nil {
		return fmt.Errorf("telemetry: totals: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots = make(map[int]*slot, len(st))
	for n, l := range st {
		if l.Recent == nil {
			l.Recent = make(map[int]Report, keptGenerations)
		}
		t.slots[n] = &slot{gone: l.Gone, folded: l.Folded, recent: l.Recent}
	}
	return nil
}

func (l *slot) sum() Report {
	w := l.gone.merge(l.own, added) // a copy, with maps of its own
	for _, r := range l.recent {
		w = w.merge(r, added)
	}
	return w
}

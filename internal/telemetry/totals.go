package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

// keptGenerations is how many generations of a slot are kept apart, so that a late report of an old process replaces
// its last one instead of being lost. In a handoff two live at a time.
const keptGenerations = 4

// SlotReport is a worker's latest report and whose it is.
type SlotReport struct {
	Slot       int    // from 1
	Generation int    // of the slot's process, must grow at each replacement
	PID        int    // for people, not for reckoning
	State      string // as package control names it
	Stale      bool   // the process did not answer: the report is its last one, if there was any
	Report
}

// Totals adds up what the workers of each slot have done, so that no count falls when a process is replaced. The zero
// value is empty and ready. Give it each report as it comes: what a process did between its last report and its end
// is known to nobody.
type Totals struct {
	mu    sync.Mutex
	slots map[int]*slot
}

// slot is what is known of one slot's processes.
type slot struct {
	gone   Report         // counters of the generations up to folded
	folded int            // the newest generation in gone
	recent map[int]Report // counters of the newest generations, by generation
	own    Report         // see Totals.Own
}

// Add takes a sample: it replaces an earlier one of the same slot and generation. Reports of generations that were
// replaced long ago are ignored. It keeps nothing of the sample's maps.
func (t *Totals) Add(s SlotReport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.slotLocked(s.Slot)
	if s.Generation <= l.folded {
		return
	}
	// The larger, not the later: two scrapes at once may bring reports out of order.
	l.recent[s.Generation] = l.recent[s.Generation].merge(s.Report, larger)
	for len(l.recent) > keptGenerations {
		oldest := slices.Min(slices.Collect(maps.Keys(l.recent)))
		l.gone = l.gone.merge(l.recent[oldest], added)
		l.folded = oldest
		delete(l.recent, oldest)
	}
}

// Own sets the counters that a slot has beside those of its processes, which whoever calls it adds up and keeps. It
// takes the place of what an earlier call has set.
func (t *Totals) Own(slot int, w Report) {
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

// Slots lists the slots that ever reported, in order.
func (t *Totals) Slots() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.slots))
}

// Slot is what all processes of a slot have done together. Its gauges are zero. Zero for a slot that never reported.
func (t *Totals) Slot(n int) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.slots[n]
	if l == nil {
		return Report{}
	}
	return l.sum()
}

// Sum is what all processes of all slots have done together. Its gauges are zero.
func (t *Totals) Sum() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	var w Report
	for _, l := range t.slots {
		w = w.merge(l.sum(), added)
	}
	return w
}

// totalsState is Totals as JSON.
type totalsState map[int]slotState

type slotState struct {
	Gone   Report         `json:"gone"`
	Folded int            `json:"folded"`
	Recent map[int]Report `json:"recent"`
}

// MarshalJSON writes all that was added up, for a program that goes on with it.
func (t *Totals) MarshalJSON() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := make(totalsState, len(t.slots))
	for n, l := range t.slots {
		st[n] = slotState{Gone: l.gone, Folded: l.folded, Recent: l.recent}
	}
	return json.Marshal(st)
}

// UnmarshalJSON goes on with what MarshalJSON wrote.
func (t *Totals) UnmarshalJSON(b []byte) error {
	var st totalsState
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
	w := l.gone.merge(l.own, added) // with maps of its own
	for _, r := range l.recent {
		w = w.merge(r, added)
	}
	return w
}

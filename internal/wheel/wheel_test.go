package wheel_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/wheel"
)

const tick = 100 * time.Millisecond

// at returns a time in milliseconds.
func at(ms int64) int64 { return ms * int64(time.Millisecond) }

// advance returns what an Advance fires, ordered by index.
func advance(w *wheel.Wheel, now int64) []uint32 {
	var got []uint32
	w.Advance(now, func(i uint32) { got = append(got, i) })
	slices.Sort(got)
	return got
}

func TestAdvanceFiresWhatIsDue(t *testing.T) {
	type step struct {
		now  int64 // ms
		want []uint32
	}
	tests := []struct {
		name  string
		set   map[uint32]int64 // ms
		steps []step
	}{
		{"nothing is due before its time", map[uint32]int64{1: 150}, []step{{100, nil}, {149, nil}, {199, nil}}},
		{"a deadline fires with the tick that ends after it", map[uint32]int64{1: 150}, []step{{200, []uint32{1}}}},
		{"a deadline on a tick fires on it", map[uint32]int64{1: 200}, []step{{199, nil}, {200, []uint32{1}}}},
		{"each deadline fires once", map[uint32]int64{1: 150}, []step{{300, []uint32{1}}, {400, nil}, {5000, nil}}},
		{"a deadline in the past fires at the next advance", map[uint32]int64{7: -5}, []step{{0, []uint32{7}}}},
		{
			"a slot is shared by revolutions",
			map[uint32]int64{1: 100, 2: 900, 3: 1700},
			[]step{{100, []uint32{1}}, {800, nil}, {900, []uint32{2}}, {1600, nil}, {1700, []uint32{3}}},
		},
		{
			"a jump of many revolutions fires everything",
			map[uint32]int64{1: 100, 2: 900, 3: 99_999, 4: 200_000},
			[]step{{100_000, []uint32{1, 2, 3}}, {200_000, []uint32{4}}},
		},
		{"a clock that goes back fires nothing", map[uint32]int64{1: 500}, []step{{400, nil}, {-9, nil}, {500, []uint32{1}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wheel.New(tick, 8, 0)
			for i, ms := range tt.set {
				w.Set(i, at(ms))
			}
			for _, s := range tt.steps {
				if got := advance(w, at(s.now)); !slices.Equal(got, s.want) {
					t.Errorf("at %d ms: fired %v, want %v", s.now, got, s.want)
				}
			}
		})
	}
}

func TestSetReplaces(t *testing.T) {
	w := wheel.New(tick, 8, 0)
	w.Set(3, at(100))
	w.Set(3, at(500))
	if got, ok := w.Deadline(3); got != at(500) || !ok {
		t.Errorf("deadline %d, %v, want the second one", got, ok)
	}
	if got := advance(w, at(400)); got != nil {
		t.Errorf("fired %v by the replaced deadline", got)
	}
	if got := advance(w, at(500)); !slices.Equal(got, []uint32{3}) {
		t.Errorf("fired %v, want [3]", got)
	}
	if _, ok := w.Deadline(3); ok || w.Len() != 0 {
		t.Errorf("a fired deadline is still set, %d in all", w.Len())
	}
}

func TestDeadlinesAtTheEndsOfTime(t *testing.T) {
	w := wheel.New(tick, 8, at(1000))
	w.Set(0, math.MaxInt64)
	w.Set(1, math.MinInt64)
	if got := advance(w, at(1000)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("fired %v, want [1]", got)
	}
	if got := advance(w, math.MaxInt64-int64(tick)); got != nil {
		t.Errorf("fired %v before the end of time", got)
	}
}

func TestFireMayChangeTheWheel(t *testing.T) {
	w := wheel.New(tick, 8, 0)
	for i := range uint32(4) {
		w.Set(i, at(100))
	}
	var got []uint32
	w.Advance(at(100), func(i uint32) {
		got = append(got, i)
		switch i {
		case 0:
			w.Clear(1)          // due in this call
			w.Set(2, at(1000))  // postponed in this call
			w.Set(0, at(50))    // itself, in the past: the next call
			w.Set(9999, at(50)) // grows the tables
		case 3:
			w.Set(3, at(300))
		}
	})
	if want := []uint32{0, 3}; !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
	if got, want := advance(w, at(100)), []uint32{0, 9999}; !slices.Equal(got, want) {
		t.Errorf("next fired %v, want %v", got, want)
	}
	if got, want := advance(w, at(1000)), []uint32{2, 3}; !slices.Equal(got, want) {
		t.Errorf("last fired %v, want %v", got, want)
	}
}

func TestWait(t *testing.T) {
	tests := []struct {
		name string
		set  []int64 // ms
		now  int64   // ms
		want int64
	}{
		{"an empty wheel never fires", nil, 0, -1},
		{"until the tick after the deadline", []int64{150}, 30, at(170)},
		{"the first of several", []int64{750, 320}, 0, at(400)},
		{"a passed deadline does not wait", []int64{-1}, 0, 0},
		{"a tick that was missed does not wait", []int64{150}, 333, 0},
		{"a later revolution waits for its time", []int64{1050}, 0, at(1100)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wheel.New(tick, 8, 0)
			for i, ms := range tt.set {
				w.Set(uint32(i), at(ms))
			}
			if got := w.Wait(at(tt.now)); got != tt.want {
				t.Errorf("wait %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	w := wheel.New(tick, 64, 0)
	now := int64(0)
	fire := func(uint32) {}
	turn := func() {
		for i := range uint32(100) {
			w.Set(i, now+int64(i)*int64(tick)/10)
		}
		w.Clear(50)
		now += int64(tick)
		w.Advance(now, fire)
	}
	turn()
	if got := testing.AllocsPerRun(100, turn); got != 0 {
		t.Errorf("%v allocations per turn, want 0", got)
	}
}

// TestWaitBeyondARevolution: Wait does not return early for entries that are due only after many revolutions.
func TestWaitBeyondARevolution(t *testing.T) {
	w := wheel.New(10, 8, 0)
	for i := range uint32(20) {
		w.Set(i, 5000+int64(i)) // in every slot, if it were due sooner
		w.Set(100+i, 9000+10*int64(i))
	}
	if got := w.Wait(0); got != 5000 {
		t.Errorf("waits %d, want 5000", got)
	}
	w.Advance(4999, func(i uint32) { t.Errorf("%d fired early", i) })
	w.Set(200, 4999+15)
	if got := w.Wait(4999); got != 1 {
		t.Errorf("waits %d, want 1", got)
	}
	fired := 0
	w.Advance(5030, func(uint32) { fired++ })
	if got := w.Wait(5030); fired != 21 || got != 9000-5030 {
		t.Errorf("fired %d, waits %d; want 21 and %d", fired, got, 9000-5030)
	}
	w.Clear(100) // the first of those left
	if got := w.Wait(5030); got > 9010-5030 {
		t.Errorf("waits %d, beyond the next", got)
	}
	w.Advance(9000, func(i uint32) { t.Errorf("%d fired early", i) })
	if got := w.Wait(9000); got != 10 {
		t.Errorf("waits %d, want 10", got)
	}
}

func TestAdvanceVisitsEachSlotOnceHoweverFarTheClockMoves(t *testing.T) {
	w := wheel.New(1, 8, 0)
	w.Set(3, 5)
	fired := 0
	w.Advance(math.MaxInt64, func(uint32) { fired++ }) // with a visit for each tick it would not end
	if fired != 1 || w.Len() != 0 {
		t.Errorf("fired %d times, %d are left, want 1 and none", fired, w.Len())
	}
}

func TestTablesGrowByDoubling(t *testing.T) {
	const entries = 1 << 14
	allocs := testing.AllocsPerRun(1, func() {
		w := wheel.New(1, 8, 0)
		for i := range uint32(entries) {
			w.Set(i, 1)
		}
	})
	if allocs > 16 {
		t.Errorf("%v allocations for %d indexes, want at most 16", allocs, entries)
	}
}

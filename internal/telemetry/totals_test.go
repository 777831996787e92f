package telemetry

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func report(slot, generation int, opened uint64) SlotReport {
	return SlotReport{Slot: slot, Generation: generation, Report: Report{Opened: opened, Connections: 9}}
}

func TestTotals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reports []SlotReport
		want    uint64 // of slot 1
	}{
		{"nothing reported", nil, 0},
		{"a report replaces the last", []SlotReport{report(1, 1, 3), report(1, 1, 5)}, 5},
		{"an older report that comes late does not", []SlotReport{report(1, 1, 5), report(1, 1, 3)}, 5},
		{"generations add up", []SlotReport{report(1, 1, 5), report(1, 2, 2)}, 7},
		{"two generations at a time", []SlotReport{report(1, 1, 5), report(1, 2, 2), report(1, 1, 6), report(1, 2, 3)}, 9},
		{"generation 0 is one, too", []SlotReport{report(1, 0, 5), report(1, 1, 2)}, 7},
		{"slots are apart", []SlotReport{report(1, 1, 5), report(2, 1, 100)}, 5},
		{
			"many generations", []SlotReport{
				report(1, 1, 1), report(1, 2, 1), report(1, 3, 1), report(1, 5, 1), report(1, 6, 1), report(1, 8, 1),
			}, 6,
		},
		{
			"a generation long gone is not counted twice", []SlotReport{
				report(1, 1, 1), report(1, 2, 1), report(1, 3, 1), report(1, 4, 1), report(1, 5, 1), report(1, 1, 1),
			}, 5,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var totals Totals
			for _, s := range tt.reports {
				totals.Add(s)
			}
			got := totals.Slot(1)
			if got.Opened != tt.want {
				t.Errorf("got %d, want %d", got.Opened, tt.want)
			}
			if got.Connections != 0 {
				t.Errorf("gauge: got %d, want 0", got.Connections)
			}
		})
	}
}

func TestTotalsSum(t *testing.T) {
	var totals Totals
	totals.Add(SlotReport{Slot: 2, Report: Report{TextIn: 1, Limits: map[string]uint64{"queue": 1}}})
	totals.Add(SlotReport{Slot: 1, Report: Report{BinaryIn: 2, Limits: map[string]uint64{"queue": 2}}})
	got := totals.Sum()
	if got.MessagesIn() != 3 || got.Limits["queue"] != 3 {
		t.Errorf("got %+v, want 3 messages and 3 hits", got)
	}
	if got := totals.Slots(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("slots: got %v, want 1 and 2", got)
	}
	got.Limits["queue"] = 100
	if n := totals.Sum().Limits["queue"]; n != 3 {
		t.Errorf("a caller changed the totals: got %d, want 3", n)
	}
}

// TestTotalsNeverFall checks that no count decreases, whatever processes come and go, and in whatever order their
// reports arrive.
func TestTotalsNeverFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var totals Totals
		var before uint64
		for range rapid.IntRange(1, 40).Draw(t, "reports") {
			totals.Add(report(
				rapid.IntRange(1, 2).Draw(t, "slot"), rapid.IntRange(1, 9).Draw(t, "generation"),
				rapid.Uint64Range(0, 100).Draw(t, "opened"),
			))
			now := totals.Sum().Opened
			if now < before {
				t.Fatalf("got %d after %d", now, before)
			}
			before = now
		}
	})
}

func TestTotalsConcurrently(t *testing.T) {
	var totals Totals
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				totals.Add(report(g, i, 1))
				totals.Sum()
			}
		})
	}
	wg.Wait()
	if got := totals.Sum().Opened; got != 400 {
		t.Errorf("got %d, want 400", got)
	}
}

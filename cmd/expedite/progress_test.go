package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/control"
)

// shown is what a watch writes for progress of one slot, a time after the other.
func shown(live bool, every time.Duration, steps ...control.Progress) string {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	w := &watch{w: &b, live: live, now: func() time.Time { return now }}
	for _, p := range steps {
		w.show(p)
		now = now.Add(every)
	}
	w.end()
	w.end()
	return b.String()
}

func moving(moved, left uint64) control.Progress {
	return control.Progress{Slot: 2, Slots: 4, Step: control.StepMoving, Moved: moved, Left: left, Total: moved + left}
}

// TestWatchLive: a step has one line, redrawn in place, and it ends with what was known last.
func TestWatchLive(t *testing.T) {
	const clear = "\x1b[K"
	done := control.Progress{Slot: 2, Slots: 4, Step: control.StepDone, Moved: 8, Total: 8}
	head, empty, half, full := "\rslot 2/4   moving    [", strings.Repeat("-", 16), strings.Repeat("#", 8)+strings.Repeat("-", 8), strings.Repeat("#", 16)
	end := "\rslot 2/4   done      [" + full + "]  8 moved  0 left" + clear + "\n"
	first := head + empty + "]  0 moved  8 left" + clear
	last := head + full + "]  8 moved  0 left" + clear + "\n"
	for _, tt := range []struct {
		name  string
		every time.Duration
		want  string
	}{
		{"slow", time.Second, first + head + half + "]  4 moved  4 left" + clear + last + end},
		{"fast", time.Millisecond, first + last + end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := shown(true, tt.every, moving(0, 8), moving(4, 4), moving(8, 0), done); got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
	if got := shown(true, time.Second); got != "" {
		t.Errorf("without progress: got %q, want nothing", got)
	}
}

// TestWatchPlain: a line for each change, and one per second between.
func TestWatchPlain(t *testing.T) {
	var steps []control.Progress
	for i := range 25 {
		steps = append(steps, moving(uint64(i), uint64(24-i)))
	}
	got := shown(false, 100*time.Millisecond, append(steps, control.Progress{Slot: 3, Slots: 4, Step: control.StepStarting})...)
	want := "slot 2/4 moving: 0 moved, 24 left\nslot 2/4 moving: 10 moved, 14 left\nslot 2/4 moving: 20 moved, 4 left\n" +
		"slot 3/4 starting\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestLiveLineFits: a line never wraps, whatever the numbers are.
func TestLiveLineFits(t *testing.T) {
	huge := control.Progress{
		Slot: 1000, Slots: 1000, Step: control.StepReplacing, Moved: 1 << 63, Left: 5, Total: 3,
		RatePerSecond: 1e18, Message: strings.Repeat("ü", 100),
	}
	if got := liveLine(huge); utf8.RuneCountInString(got) != lineWidth || !strings.HasSuffix(got, "…") {
		t.Errorf("got %q of %d columns, want %d", got, utf8.RuneCountInString(got), lineWidth)
	}
	usual := control.Progress{
		Slot: 16, Slots: 16, Step: control.StepDraining, Moved: 1_000_000, Left: 0, Total: 1_000_000, RatePerSecond: 100_000,
	}
	want := "slot 16/16  draining  [" + strings.Repeat("#", 16) + "]  1,000,000 moved  0 left  100,000/s"
	if got := liveLine(usual); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1,000", 18_000: "18,000", 1_234_567: "1,234,567", 1<<64 - 1: "18,446,744,073,709,551,615",
	} {
		if got := grouped(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestTook(t *testing.T) {
	for s, want := range map[float64]string{
		-1: "0s", 0: "0s", 0.34: "340ms", 0.00001: "0s", 1.234: "1.2s", 2: "2s", 123.44: "2m3.4s", 1e300: "0s",
	} {
		if got := took(s); got != want {
			t.Errorf("%g: got %q, want %q", s, got, want)
		}
	}
}

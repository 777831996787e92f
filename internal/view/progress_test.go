package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// shown returns what a Progress writes if the given steps follow each other after a time.
func shown(live bool, every time.Duration, steps ...control.Progress) string {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	w := &Progress{w: &b, live: live, now: func() time.Time { return now }}
	for _, p := range steps {
		w.Show(p)
		now = now.Add(every)
	}
	w.End()
	w.End()
	return b.String()
}

func moving(moved, left uint64) control.Progress {
	return control.Progress{Slot: 2, Slots: 4, Step: control.StepMoving, Moved: moved, Left: left, Total: moved + left}
}

// TestProgressOnTerminal checks that a step has one line, redrawn in place, that ends with the last state.
func TestProgressOnTerminal(t *testing.T) {
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

// TestProgressInFile checks that there is a line for each step, and one per second within a step.
func TestProgressInFile(t *testing.T) {
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

// TestLiveLine checks that a usual line is not truncated.
func TestLiveLine(t *testing.T) {
	usual := control.Progress{
		Slot: 16, Slots: 16, Step: control.StepDraining, Moved: 1_000_000, Left: 0, Total: 1_000_000, RatePerSecond: 100_000,
	}
	want := "slot 16/16  draining  [" + strings.Repeat("#", 16) + "]  1,000,000 moved  0 left  100,000/s"
	if got := liveLine(usual); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

package view

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
	"github.com/expedite-go/expedite/internal/terminal"
)

const (
	barWidth   = 16                    // columns
	redrawTime = 50 * time.Millisecond // at least, between two pictures of one step
	repeatTime = time.Second           // at least, between two plain lines of one step
)

// Progress shows the progress of an operation: on a terminal one line per step, redrawn in place, elsewhere plain
// lines. Create one with [NewProgress], and call End.
type Progress struct {
	w    io.Writer
	live bool
	now  func() time.Time

	last  control.Progress
	seen  bool      // last is set; on a terminal its line is not finished
	stale bool      // last is newer than what the terminal shows
	drawn time.Time // when a line was last written
}

// NewProgress returns a Progress that writes to w.
func NewProgress(w io.Writer) *Progress {
	return &Progress{w: w, live: terminal.CanRedraw(w), now: time.Now}
}

// Show shows p, unless it has just shown the same step.
func (w *Progress) Show(p control.Progress) {
	fresh := !w.seen || p.Slot != w.last.Slot || p.Step != w.last.Step
	if fresh {
		w.End()
	}
	now := w.now()
	w.last, w.seen = p, true
	wait := repeatTime
	if w.live {
		wait = redrawTime
	}
	if !fresh && now.Sub(w.drawn) < wait {
		w.stale = true
		return
	}
	w.drawn = now
	w.draw()
}

// End finishes the line of a step, so that other output can follow.
func (w *Progress) End() {
	if !w.seen || !w.live {
		return
	}
	if w.stale {
		w.draw()
	}
	fmt.Fprintln(w.w)
	w.seen = false
}

// draw ignores errors: an operation continues even if its progress cannot be shown.
func (w *Progress) draw() {
	w.stale = false
	if w.live {
		terminal.Redraw(w.w, liveLine(w.last))
	} else {
		fmt.Fprintln(w.w, plainLine(w.last))
	}
}

// liveLine returns a progress with a bar.
func liveLine(p control.Progress) string {
	parts := []string{fmt.Sprintf("%-9s  %-8s", place(p), p.Step)}
	if counted(p) {
		parts = append(parts, terminal.Bar(share(p), barWidth))
	}
	return strings.TrimRight(strings.Join(append(parts, details(p)...), "  "), " ")
}

// plainLine returns a progress in words.
func plainLine(p control.Progress) string {
	head := strings.TrimLeft(place(p)+" "+p.Step, " ")
	if d := details(p); len(d) > 0 {
		return head + ": " + strings.Join(d, ", ")
	}
	return head
}

func place(p control.Progress) string {
	if p.Slot == 0 {
		return ""
	}
	return fmt.Sprintf("slot %d/%d", p.Slot, p.Slots)
}

// counted reports whether the step counts connections.
func counted(p control.Progress) bool { return p.Total > 0 || p.Moved > 0 || p.Left > 0 }

// details returns the numbers of a step, and its message.
func details(p control.Progress) []string {
	var d []string
	if counted(p) {
		d = append(d, human.Number(p.Moved)+" moved", human.Number(p.Left)+" left")
		if p.RatePerSecond >= 0.5 && p.RatePerSecond < math.MaxInt64 {
			d = append(d, human.Number(uint64(p.RatePerSecond+0.5))+"/s")
		}
	}
	if message := strings.Join(strings.Fields(p.Message), " "); message != "" {
		d = append(d, message)
	}
	return d
}

// share returns how much of a step is done, from 0 to 1.
func share(p control.Progress) float64 {
	switch {
	case p.Step == control.StepDone || p.Left == 0:
		return 1
	case p.Total == 0 || p.Left >= p.Total:
		return 0
	default:
		return float64(p.Total-p.Left) / float64(p.Total)
	}
}

package main

import (
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/telemetry"
)

const (
	barWidth   = 16                    // columns
	lineWidth  = 79                    // columns: a line that wraps cannot be redrawn
	redrawTime = 50 * time.Millisecond // at least, between two pictures of one step
	repeatTime = time.Second           // at least, between two plain lines of one step
)

// watch shows progress: on a terminal one line per step that is redrawn in place, elsewhere plain lines. Make one with
// newWatch, and end it.
type watch struct {
	w    io.Writer
	live bool
	now  func() time.Time

	last  control.Progress
	seen  bool      // last is one; on a terminal its line is not finished
	stale bool      // last is newer than what the terminal shows
	drawn time.Time // when a line was written last
}

func newWatch(w io.Writer) *watch {
	f, ok := w.(*os.File)
	live := ok && telemetry.IsTerminal(f) && os.Getenv("TERM") != "dumb"
	return &watch{w: w, live: live, now: time.Now}
}

// show takes note of a progress and shows it, if there was none of the same step just now.
func (w *watch) show(p control.Progress) {
	fresh := !w.seen || p.Slot != w.last.Slot || p.Step != w.last.Step
	if fresh {
		w.end()
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

// end finishes the line of a step. What comes next is another's.
func (w *watch) end() {
	if !w.seen || !w.live {
		return
	}
	if w.stale {
		w.draw()
	}
	fmt.Fprintln(w.w)
	w.seen = false
}

// draw shows the last progress. Whoever does not read it any more misses nothing.
func (w *watch) draw() {
	w.stale = false
	if !w.live {
		fmt.Fprintln(w.w, plainLine(w.last))
		return
	}
	// Back to the line's start, the new text, and nothing behind it.
	fmt.Fprintf(w.w, "\r%s\x1b[K", liveLine(w.last))
}

// liveLine is a progress with a bar.
func liveLine(p control.Progress) string {
	parts := []string{fmt.Sprintf("%-9s  %-8s", place(p), p.Step)}
	if counted(p) {
		full := int(share(p)*barWidth + 0.5)
		parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat("-", barWidth-full)+"]")
	}
	return cut(strings.TrimRight(strings.Join(append(parts, details(p)...), "  "), " "), lineWidth)
}

// plainLine is a progress in words.
func plainLine(p control.Progress) string {
	head := strings.TrimLeft(place(p)+" "+p.Step, " ")
	if d := details(p); len(d) > 0 {
		return head + ": " + strings.Join(d, ", ")
	}
	return head
}

// place is the slot, where there is one.
func place(p control.Progress) string {
	if p.Slot == 0 {
		return ""
	}
	return fmt.Sprintf("slot %d/%d", p.Slot, p.Slots)
}

// counted says whether the step is one of connections.
func counted(p control.Progress) bool { return p.Total > 0 || p.Moved > 0 || p.Left > 0 }

// details are the numbers of a step, and its message.
func details(p control.Progress) []string {
	var d []string
	if counted(p) {
		d = append(d, grouped(p.Moved)+" moved", grouped(p.Left)+" left")
		if p.RatePerSecond >= 0.5 && p.RatePerSecond < math.MaxInt64 {
			d = append(d, grouped(uint64(p.RatePerSecond+0.5))+"/s")
		}
	}
	if message := strings.Join(strings.Fields(p.Message), " "); message != "" {
		d = append(d, message)
	}
	return d
}

// share is how much of a step is done, from 0 to 1.
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

// cut shortens a line to a number of columns.
func cut(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-1]) + "…"
}

// grouped returns a number with commas: 18,000.
func grouped(n uint64) string { return humanize.BigComma(new(big.Int).SetUint64(n)) }

// count returns a number of things: 1 worker, 18,000 connections.
func count(n uint64, thing string) string { return english.Plural(int(min(n, math.MaxInt)), thing, "") }

// took is a time in a unit that fits: 340ms, 1.2s, 2m3.4s.
func took(seconds float64) string {
	if !(seconds > 0) || seconds > math.MaxInt32 {
		return "0s"
	}
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

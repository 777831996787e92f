package loadtest

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/human"
	"github.com/expedite-go/expedite/internal/terminal"
)

const (
	watchRepeat = 5 * time.Second // between two plain lines of one phase
	watchBar    = 8               // columns
)

// Watch shows the progress of a run. On a terminal it redraws one line in place; otherwise it prints a line from time
// to time. Create one with [NewWatch], and call End.
type Watch struct {
	w     io.Writer
	live  bool
	now   func() time.Time
	phase string
	drawn time.Time
}

// NewWatch returns a Watch that writes to w.
func NewWatch(w io.Writer) *Watch {
	return &Watch{w: w, live: terminal.CanRedraw(w), now: time.Now}
}

// Show shows a progress. If the output is not a terminal, it skips most updates within a phase.
func (w *Watch) Show(p Progress) {
	now := w.now()
	if !w.live && p.Phase == w.phase && now.Sub(w.drawn) < watchRepeat {
		return
	}
	w.phase, w.drawn = p.Phase, now
	if w.live {
		terminal.Redraw(w.w, progressLine(p, true))
	} else {
		fmt.Fprintln(w.w, progressLine(p, false))
	}
}

// End clears the line on a terminal.
func (w *Watch) End() {
	if w.live && !w.drawn.IsZero() {
		terminal.Redraw(w.w, "")
	}
}

func progressLine(p Progress, bar bool) string {
	parts := []string{fmt.Sprintf("%4.0fs %s", p.Seconds, p.Phase)}
	if bar && p.Wanted > 0 {
		parts = append(parts, terminal.Bar(float64(p.Opened+p.Failed)/float64(p.Wanted), watchBar))
	}
	parts = append(parts, human.Number(max(p.Open, 0))+" open")
	if p.Opened != uint64(max(p.Open, 0)) {
		parts = append(parts, human.Number(p.Opened)+" opened")
	}
	if p.Failed > 0 || !bar {
		parts = append(parts, human.Number(p.Failed)+" failed")
	}
	if p.Closed > 0 || !bar {
		parts = append(parts, human.Number(p.Closed)+" closed")
	}
	if p.SentRate >= 0.5 || p.ReceivedRate >= 0.5 {
		out, in := human.Number(uint64(p.SentRate+0.5)), human.Number(uint64(p.ReceivedRate+0.5))
		parts = append(parts, out+"/s out "+in+"/s in")
	}
	if p.HasRTT {
		parts = append(parts, fmt.Sprintf("rtt %.3gms p99 %.3gms", p.P50*1000, p.P99*1000))
	}
	if bar {
		return strings.Join(parts, " ")
	}
	return strings.TrimLeft(strings.Join(parts, ", "), " ")
}

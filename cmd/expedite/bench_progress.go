package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// benchRepeat is the time between two plain lines.
const benchRepeat = 5 * time.Second

// benchWatch shows how far a run is: on a terminal one line that is redrawn in place, elsewhere a line now and then.
// Make one with newBenchWatch, and end it.
type benchWatch struct {
	w     io.Writer
	live  bool
	now   func() time.Time
	phase string
	drawn time.Time
}

func newBenchWatch(w io.Writer) *benchWatch {
	f, ok := w.(*os.File)
	live := ok && telemetry.IsTerminal(f) && os.Getenv("TERM") != "dumb"
	return &benchWatch{w: w, live: live, now: time.Now}
}

// show shows a progress; elsewhere than on a terminal not more often than needed, but each phase once.
func (w *benchWatch) show(p loadtest.Progress) {
	if w.live {
		fmt.Fprintf(w.w, "\r%s\x1b[K", cut(benchLine(p, true), lineWidth))
		w.drawn = w.now()
		return
	}
	now := w.now()
	if p.Phase == w.phase && now.Sub(w.drawn) < benchRepeat {
		return
	}
	w.phase, w.drawn = p.Phase, now
	fmt.Fprintln(w.w, benchLine(p, false))
}

// end clears the line: the report follows.
func (w *benchWatch) end() {
	if w.live && !w.drawn.IsZero() {
		fmt.Fprint(w.w, "\r\x1b[K")
	}
}

func benchLine(p loadtest.Progress, bar bool) string {
	parts := []string{fmt.Sprintf("%4.0fs %s", p.Seconds, p.Phase)}
	if bar && p.Wanted > 0 {
		full := min(int(float64(p.Opened+p.Failed)/float64(p.Wanted)*barWidth/2+0.5), barWidth/2)
		parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat("-", barWidth/2-full)+"]")
	}
	parts = append(parts, grouped(uint64(max(p.Open, 0)))+" open")
	if p.Opened != uint64(max(p.Open, 0)) {
		parts = append(parts, grouped(p.Opened)+" opened")
	}
	if p.Failed > 0 || !bar {
		parts = append(parts, grouped(p.Failed)+" failed")
	}
	if p.Closed > 0 || !bar {
		parts = append(parts, grouped(p.Closed)+" closed")
	}
	if p.SentRate >= 0.5 || p.ReceivedRate >= 0.5 {
		out, in := grouped(uint64(p.SentRate+0.5)), grouped(uint64(p.ReceivedRate+0.5))
		parts = append(parts, out+"/s out "+in+"/s in")
	}
	if p.HasRTT {
		parts = append(parts, "rtt "+millis(p.P50)+" p99 "+millis(p.P99))
	}
	if bar {
		return strings.Join(parts, " ")
	}
	return strings.TrimLeft(strings.Join(parts, ", "), " ")
}

// millis is a time in milliseconds, to three digits.
func millis(seconds float64) string { return fmt.Sprintf("%.3gms", seconds*1000) }

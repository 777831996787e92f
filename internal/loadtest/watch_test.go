package loadtest

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/terminal"
)

// TestWatch checks that progress takes one line on a terminal, and elsewhere is printed from time to time.
func TestWatch(t *testing.T) {
	p := Progress{
		Phase: "waiting for replies", Seconds: 86400, Wanted: 1_000_000, Open: 900_000, Opened: 1_000_000, Failed: 100_000,
		Closed: 100_000, SentRate: 1e6, ReceivedRate: 1e6, P50: 0.001234, P99: 0.123456, HasRTT: true,
	}
	var b bytes.Buffer
	now := time.Unix(0, 0)
	w := &Watch{w: &b, live: true, now: func() time.Time { return now }}
	w.Show(p)
	w.End()
	line := strings.TrimSuffix(strings.TrimPrefix(b.String(), "\r"), "\x1b[K\r\x1b[K")
	if n := utf8.RuneCountInString(line); n > terminal.Width {
		t.Errorf("%q has %d columns, want %d at most", line, n, terminal.Width)
	}
	b.Reset()
	w = &Watch{w: &b, now: w.now}
	p = Progress{Phase: "running", Open: 5, Opened: 5, SentRate: 10, ReceivedRate: 10, P50: 0.001, P99: 0.002, HasRTT: true}
	for range 12 {
		w.Show(p)
		now = now.Add(time.Second)
		p.Seconds++
	}
	p.Phase = "closing"
	w.Show(p)
	w.End()
	const rest = ", 5 open, 0 failed, 0 closed, 10/s out 10/s in, rtt 1ms p99 2ms\n"
	want := "0s running" + rest + "5s running" + rest + "10s running" + rest + "12s closing" + rest
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

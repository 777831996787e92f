//go:build linux

package expedite

import (
	"strconv"
	"strings"
	"testing"
)

// TestStatusAsksTheWorkers: status and metrics say how things are, and not how they were at the last report.
func TestStatusAsksTheWorkers(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 2, Admin: "127.0.0.1:0"})
	wantStatus(t, app, 0)
	const clients = 50
	for range clients {
		talk(t, addr, "/tally").ask("a", "[a] 0")
	}
	st := wantStatus(t, app, clients)
	if st.Totals.MessagesIn != clients || st.Totals.MessagesOut != clients {
		t.Errorf("got %d messages in and %d out, want %d", st.Totals.MessagesIn, st.Totals.MessagesOut, clients)
	}
	_, metrics := adminGet(t, app, "/metrics")
	inMetrics := 0
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, "expedite_connections{"); ok {
			_, value, _ = strings.Cut(strings.TrimSpace(value), " ")
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Error(err)
			}
			inMetrics += n
		}
	}
	if inMetrics != clients {
		t.Errorf("%d connections in the metrics, want %d:\n%s", inMetrics, clients, metrics)
	}
}

package expedite

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestTunedInLogs: what workers run with is logged at debug level, by name.
func TestTunedInLogs(t *testing.T) {
	var log bytes.Buffer
	got := Tuned{HeapLimit: 100 << 20, GOGC: -1, Procs: 7, Rate: Rate{In: 250}}
	logTuned(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), got)
	for _, part := range []string{"tuned.heap_limit_bytes=104857600", "tuned.gogc=-1", "tuned.procs=7", "tuned.rate_in=250"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log has no %s: %s", part, &log)
		}
	}
}

func TestTuningCheck(t *testing.T) {
	tests := []struct {
		name   string
		tuning Tuning
		want   string // in the error
	}{
		{"zero is right", Tuning{}, ""},
		{"off is right", Tuning{Memory: -1, MemoryReserve: -1, GOGC: -1}, ""},
		{"no negative rate", Tuning{ConnRate: Rate{Out: -1}}, "ConnRate.Out"},
		{"no negative rate of all", Tuning{Rate: Rate{In: -5}}, "Rate.In is -5"},
		{"no negative number of processors", Tuning{Procs: -1}, "Procs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.tuning.check()
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

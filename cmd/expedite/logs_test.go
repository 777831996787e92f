package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// TestLogUnits checks that times in JSON log lines are in seconds and named so, and that nouns agree with numbers.
func TestLogUnits(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "1", "--log-format", "json")
	if !strings.Contains(s.output.String(), "1 process,") {
		t.Errorf("the banner counts its worker otherwise than as 1 process:\n%s", s.output)
	}
	if out, err := exec.Command(command, "reload", "--control", s.control, "--canary", "0s").CombinedOutput(); err != nil {
		t.Fatalf("reload: %v: %s", err, out)
	}
	st := s.await("the worker is new", func(st control.Status) bool { return allReady(st) && st.Workers[0].Generation > 1 })
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("the worker is back", func(st control.Status) bool { return allReady(st) && st.Workers[0].Restarts > 0 })
	wanted := map[string]string{"reload done": "longest_freeze_seconds", "worker ended": "restart_in_seconds"}
	for line := range strings.Lines(s.output.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue // the banner
		}
		msg, _ := fields["msg"].(string)
		field := wanted[msg]
		if field == "" {
			continue
		}
		delete(wanted, msg)
		if v, ok := fields[field].(float64); !ok || v < 0 || v > 3600 {
			t.Errorf("%s: got %v, want it in seconds in %s", field, fields[field], line)
		}
	}
	for msg, field := range wanted {
		t.Errorf("no line %q, which should have %s:\n%s", msg, field, s.output)
	}
}

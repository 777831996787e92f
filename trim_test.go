package expedite

import (
	"runtime"
	"testing"
	"time"
)

// TestTrim: garbage goes back to the system when nothing happens any more, and not too often.
func TestTrim(t *testing.T) {
	var tr trimmer
	start := time.Now()
	tr.look(start)
	garbage := make([][]byte, 64)
	for i := range garbage {
		garbage[i] = make([]byte, 1<<20)
	}
	if tr.look(start.Add(time.Hour)) {
		t.Error("trimmed while memory was allocated")
	}
	runtime.KeepAlive(garbage)
	garbage = nil
	runtime.GC() // what is live is known from here on
	if !tr.look(start.Add(2 * time.Hour)) {
		t.Error("64 MiB of garbage are kept")
	}
	if tr.look(start.Add(2*time.Hour + time.Second)) {
		t.Error("trimmed twice within a second")
	}
}

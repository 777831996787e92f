package resource

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestTrim: garbage goes back to the system when nothing happens any more, and not too often.
func TestTrim(t *testing.T) {
	tr := NewHeapTrimmer()
	start := time.Now()
	tr.Trim(start, false)
	garbage := make([][]byte, 64)
	for i := range garbage {
		garbage[i] = make([]byte, 1<<20)
	}
	if tr.Trim(start.Add(time.Hour), false) {
		t.Error("trimmed while memory was allocated")
	}
	runtime.KeepAlive(garbage)
	garbage = nil
	runtime.GC() // what is live is known from here on
	if !tr.Trim(start.Add(2*time.Hour), false) {
		t.Error("64 MiB of garbage are kept")
	}
	if tr.Trim(start.Add(2*time.Hour+time.Second), false) {
		t.Error("trimmed twice within a second")
	}
}

// TestTrimRests: while nothing happens the runtime does not collect, but for what a runaway would take; then it works
// as before.
func TestTrimRests(t *testing.T) {
	const gogc, limit = 150, 1 << 40
	defer debug.SetGCPercent(debug.SetGCPercent(gogc))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	tr := NewHeapTrimmer()
	defer tr.Wake()
	now := time.Now()
	tr.Trim(now, true) // it may not be quiet yet
	tr.Trim(now.Add(time.Second), true)
	if got := collectorSettings(); got[0] != math.MaxUint64 || got[1] >= limit {
		t.Errorf("asleep: GOGC %d, GOMEMLIMIT %d, want off, and less than %d", got[0], got[1], limit)
	}
	before := collections()
	var kept []byte
	for range 64 {
		kept = make([]byte, 4<<20)
		clear(kept)
	}
	runtime.KeepAlive(kept)
	if collections() == before {
		t.Error("256 MiB of garbage, and no collection")
	}
	select {
	case <-tr.collected:
	case <-time.After(30 * time.Second):
		t.Error("the collection does not end the rest")
	}
	tr.Trim(now.Add(2*time.Second), true)
	if got := collectorSettings(); got != [2]uint64{gogc, limit} {
		t.Errorf("something allocates: GOGC %d, GOMEMLIMIT %d, want %d and %d", got[0], got[1], gogc, limit)
	}
	tr.Trim(now.Add(3*time.Second), true)
	tr.Wake()
	if got := collectorSettings(); got != [2]uint64{gogc, limit} {
		t.Errorf("awake: GOGC %d, GOMEMLIMIT %d, want %d and %d", got[0], got[1], gogc, limit)
	}
}

// collectorSettings are GOGC and GOMEMLIMIT.
func collectorSettings() [2]uint64 {
	s := [...]metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(s[:])
	return [2]uint64{s[0].Value.Uint64(), s[1].Value.Uint64()}
}

// collections is how many there were.
func collections() uint32 {
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	return st.NumGC
}

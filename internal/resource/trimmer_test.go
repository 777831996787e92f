package resource

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

// TestTrim: a quiet process returns garbage to the operating system, and not twice within a short time.
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
	runtime.GC() // from here on, the runtime knows what is live
	if !tr.Trim(start.Add(2*time.Hour), false) {
		t.Error("64 MiB of garbage were not trimmed")
	}
	if tr.Trim(start.Add(2*time.Hour+time.Second), false) {
		t.Error("trimmed twice within a second")
	}
}

// TestTrimAfterGoroutines: what many goroutines leave is returned although the last collection found it live, as it does
// in the middle of a burst of clients.
func TestTrimAfterGoroutines(t *testing.T) {
	tr := NewHeapTrimmer()
	start := time.Now()
	end := make(chan struct{})
	var began, ended sync.WaitGroup
	const goroutines, size = 2000, 16 << 10
	sizes := []int{size} // a variable, so that it is on the heap
	for range goroutines {
		began.Add(1)
		ended.Go(func() {
			b := make([]byte, sizes[0])
			began.Done()
			<-end
			runtime.KeepAlive(b)
		})
	}
	began.Wait()
	for range 2 { // the second one gives back what the first has found
		runtime.GC()
		debug.FreeOSMemory()
	}
	tr.Trim(start, false)
	held := readHeap()
	close(end)
	ended.Wait()
	tr.Trim(start.Add(time.Hour), false)
	if after := readHeap(); after.taken > held.taken-goroutines*size/2 {
		t.Errorf("%d KiB are taken, %d were", after.taken>>10, held.taken>>10)
	}
	before := collections()
	if tr.Trim(start.Add(2*time.Hour), false) || collections() != before {
		t.Error("trimmed again for nothing")
	}
}

// TestTrimRests: while the process sleeps, the collector is stopped, unless the process takes much more memory. Then the
// collector works as before.
func TestTrimRests(t *testing.T) {
	const gogc, limit = 150, 1 << 40
	defer debug.SetGCPercent(debug.SetGCPercent(gogc))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	tr := NewHeapTrimmer()
	defer tr.Wake()
	now := time.Now()
	tr.Trim(now, true) // allocations before this call may count as activity
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
		t.Error("no collection despite 256 MiB of garbage")
	}
	select {
	case <-tr.collected:
	case <-time.After(30 * time.Second):
		t.Error("the collection was not reported")
	}
	tr.Trim(now.Add(2*time.Second), true)
	if got := collectorSettings(); got != [2]uint64{gogc, limit} {
		t.Errorf("allocating: GOGC %d, GOMEMLIMIT %d, want %d and %d", got[0], got[1], gogc, limit)
	}
	tr.Trim(now.Add(3*time.Second), true)
	tr.Wake()
	if got := collectorSettings(); got != [2]uint64{gogc, limit} {
		t.Errorf("awake: GOGC %d, GOMEMLIMIT %d, want %d and %d", got[0], got[1], gogc, limit)
	}
}

// collectorSettings returns GOGC and GOMEMLIMIT.
func collectorSettings() [2]uint64 {
	s := [...]metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(s[:])
	return [2]uint64{s[0].Value.Uint64(), s[1].Value.Uint64()}
}

// collections returns the number of collections since the process started.
func collections() uint32 {
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	return st.NumGC
}

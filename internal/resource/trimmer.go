package resource

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// HeapTrimmer returns memory to the operating system that a burst of connections or a reload has left unused. Without
// it, the Go runtime keeps about as much free memory as there is live data, which is a gigabyte with a million idle
// connections.
//
// While the process sleeps, the HeapTrimmer also stops the garbage collector. The Go runtime forces a collection every
// two minutes, which scans all live data. With a million idle connections, that scan was most of the CPU time of the
// process.
//
// Collector and memory limit belong to the whole process, so a process must have at most one HeapTrimmer. It is not
// safe for concurrent use.
type HeapTrimmer struct {
	last   time.Time // of the last trim
	before uint64    // bytes allocated up to the last call of Trim
	stays  uint64    // part of the estimated gain that the last trim did not free, in bytes
	peak   uint64    // most goroutines at a call of Trim since the last trim

	resting   bool          // the collector is stopped
	gogc      int           // GOGC to restore when it is started
	limit     int64         // GOMEMLIMIT to restore when it is started
	collected chan struct{} // receives a value after a collection while it is stopped
}

// NewHeapTrimmer returns a HeapTrimmer.
func NewHeapTrimmer() *HeapTrimmer { return &HeapTrimmer{collected: make(chan struct{}, 1)} }

const (
	// trimEvery is the shortest time between two trims, because each is a full collection.
	trimEvery = 30 * time.Second
	// trimQuiet is how many bytes a quiet process allocates at most between two calls of Trim. Only a quiet process is
	// trimmed.
	trimQuiet = 1 << 20
	// A trim must be expected to gain trimLeast bytes, and the live data divided by trimPart.
	trimLeast, trimPart = 4 << 20, 4
	// trimGoroutine is about what a goroutine that has ended has left in stack and heap. The runtime does not know of the
	// latter: it counts as live what the last collection found, which may have been in the middle of a burst of clients.
	trimGoroutine = 16 << 10
	// While the collector is stopped, the process may take restRoom more bytes, or what it has taken divided by restPart
	// if that is more. Beyond that the runtime collects, and the collector is started again.
	restRoom, restPart = 16 << 20, 8
)

// Trim trims the heap if that is worth a collection, and reports whether it did. If the process is asleep and quiet,
// Trim also stops the collector; otherwise, it starts the collector. It blocks during a collection.
func (t *HeapTrimmer) Trim(now time.Time, asleep bool) (trimmed bool) {
	h := readHeap()
	quiet := h.allocs-t.before < trimQuiet
	t.before = h.allocs
	t.stays = min(t.stays, h.gain)
	t.peak = max(t.peak, h.goroutines)
	gain := h.gain - t.stays + (t.peak-h.goroutines)*trimGoroutine
	if quiet && now.Sub(t.last) >= trimEvery && gain >= max(trimLeast, h.live/trimPart) {
		t.last, t.peak = now, h.goroutines
		runtime.GC() // a sync.Pool is emptied by the second of two collections; FreeOSMemory runs that one
		debug.FreeOSMemory()
		h = readHeap()
		t.stays, trimmed = h.gain, true
	}
	if asleep && quiet {
		t.rest(h.taken)
	} else {
		t.Wake()
	}
	return trimmed
}

// Collected returns a channel that receives a value if the runtime has collected while the collector was stopped: the
// process has used the memory that it may take meanwhile. The receiver must call Wake.
func (t *HeapTrimmer) Collected() <-chan struct{} { return t.collected }

// Run calls Trim every second until done is closed. It never stops the collector. It is for a process without an
// IdleTicker.
func (t *HeapTrimmer) Run(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.Trim(now, false)
		case <-done:
			return
		}
	}
}

// heapUse describes the heap, in bytes.
type heapUse struct {
	allocs uint64 // allocated since the process started
	live   uint64 // found live by the last collection
	gain   uint64 // upper bound of what a trim frees; it includes gaps between objects, which a trim cannot free
	taken  int64  // taken from the operating system, as GOMEMLIMIT counts it

	goroutines uint64
}

// readHeap reads the state of the heap. It does not stop the world, as runtime.ReadMemStats does.
func readHeap() heapUse {
	s := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(s[:])
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return 0 // this version of Go lacks the metric
		}
		return s[i].Value.Uint64()
	}
	h := heapUse{
		allocs: value(0), live: value(1), gain: value(3) + value(4), taken: int64(value(5) - value(6)), goroutines: value(7),
	}
	if objects := value(2); objects > h.live {
		h.gain += objects - h.live
	}
	return h
}

// rest stops the collector of a process that has taken that many bytes. A temporary memory limit bounds what the
// process can take until the collector is started again.
func (t *HeapTrimmer) rest(taken int64) {
	if t.resting {
		return
	}
	t.resting = true
	select {
	case <-t.collected: // a collection during an earlier rest
	default:
	}
	t.gogc = debug.SetGCPercent(-1)
	if t.limit = debug.SetMemoryLimit(-1); taken+max(restRoom, taken/restPart) < t.limit {
		debug.SetMemoryLimit(taken + max(restRoom, taken/restPart))
	}
	// The runtime has no callback for collections. The next one frees this object, and thereby runs the function.
	runtime.AddCleanup(&garbage{}, func(collected chan<- struct{}) {
		select {
		case collected <- struct{}{}:
		default:
		}
	}, t.collected)
}

// garbage is an object that the next collection frees. It contains a pointer, because the allocator combines small
// objects without pointers: then the others would keep it alive.
type garbage struct{ _ *garbage }

// Wake starts the collector again and restores the memory limit. If the collector is not stopped, Wake does nothing.
func (t *HeapTrimmer) Wake() {
	if !t.resting {
		return
	}
	t.resting = false
	debug.SetMemoryLimit(t.limit)
	debug.SetGCPercent(t.gogc)
}

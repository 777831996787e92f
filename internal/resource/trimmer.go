package resource

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// HeapTrimmer gives memory back to the system that a storm of connects or a reload has left free. The runtime would
// keep as much as is live, for the next storm: with a million idle connections, that is a gigabyte.
//
// It also stops the collector while nothing happens. The runtime would scan all that is live every two minutes: with a
// million idle connections, that was most of what the processors did. It is not safe for concurrent use.
type HeapTrimmer struct {
	last   time.Time // of the last trim
	before uint64    // bytes allocated until the last call of Trim
	stays  uint64    // bytes that looked free after the last trim: a trim does not free them

	resting   bool
	gogc      int           // of the process, while the collector is stopped
	limit     int64         // its GOMEMLIMIT, likewise
	collected chan struct{} // receives after a collection while it is stopped
}

// NewHeapTrimmer returns a HeapTrimmer.
func NewHeapTrimmer() *HeapTrimmer { return &HeapTrimmer{collected: make(chan struct{}, 1)} }

const (
	// trimEvery is the shortest time between two trims: each is a full collection.
	trimEvery = 30 * time.Second
	// trimQuiet is how many bytes a quiet process may allocate between two calls of Trim.
	trimQuiet = 1 << 20
	// trimLeast is the smallest gain that is worth a trim, in bytes, and trimPart its smallest part of what is live.
	trimLeast, trimPart = 4 << 20, 4
	// restRoom is how many more bytes a process may take while its collector is stopped, and restPart the smallest part
	// of what it has: beyond that there is a collection, which starts the collector again.
	restRoom, restPart = 16 << 20, 8
)

// Trim trims the heap if that is worth it, and stops the collector if the process is asleep. It may block for as long
// as a collection takes.
func (t *HeapTrimmer) Trim(now time.Time, asleep bool) (trimmed bool) {
	h := readHeap()
	quiet := h.allocs-t.before < trimQuiet
	t.before = h.allocs
	t.stays = min(t.stays, h.gain)
	if quiet && now.Sub(t.last) >= trimEvery && h.gain-t.stays >= max(trimLeast, h.live/trimPart) {
		t.last = now
		runtime.GC() // pools are emptied by the second collection
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

// Collected receives after a collection while the collector was stopped: Wake must be called then.
func (t *HeapTrimmer) Collected() <-chan struct{} { return t.collected }

// Run trims the heap of a process that never sleeps every second, until done is closed.
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

// heapUse is the state of the heap, in bytes.
type heapUse struct {
	allocs, live uint64
	gain         uint64 // what a collection may free, and gaps between objects, which it cannot
	taken        int64  // from the system, as GOMEMLIMIT counts it
}

func readHeap() heapUse {
	s := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(s[:])
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return s[i].Value.Uint64()
	}
	h := heapUse{allocs: value(0), live: value(1), gain: value(3) + value(4), taken: int64(value(5) - value(6))}
	if objects := value(2); objects > h.live {
		h.gain += objects - h.live
	}
	return h
}

// rest stops the collector, and bounds what the process may take beyond what it has. Trim still collects when that is
// worth it.
func (t *HeapTrimmer) rest(taken int64) {
	if t.resting {
		return
	}
	t.resting = true
	select {
	case <-t.collected: // after an earlier rest
	default:
	}
	t.gogc = debug.SetGCPercent(-1)
	if t.limit = debug.SetMemoryLimit(-1); taken+max(restRoom, taken/restPart) < t.limit {
		debug.SetMemoryLimit(taken + max(restRoom, taken/restPart))
	}
	runtime.AddCleanup(&garbage{}, func(collected chan<- struct{}) {
		select {
		case collected <- struct{}{}:
		default:
		}
	}, t.collected)
}

// garbage is freed by the next collection. It has a pointer, so that the allocator does not combine it with others.
type garbage struct{ _ *garbage }

// Wake starts the collector again: something happens.
func (t *HeapTrimmer) Wake() {
	if !t.resting {
		return
	}
	t.resting = false
	debug.SetMemoryLimit(t.limit)
	debug.SetGCPercent(t.gogc)
}

package expedite

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// trimmer gives memory back to the system that a storm of connects or a reload has left behind. The runtime would
// keep as much again as is live, for the next storm: with a million idle connections, that is a gigabyte.
//
// It has the collector rest, too, while nothing happens. The runtime would go through all that is live every two
// minutes: with a million idle connections, that was most of what the processors had to do.
type trimmer struct {
	last   time.Time // when it has done so
	before uint64    // bytes allocated up to the last look
	stays  uint64    // bytes that looked like a gain after the last trim: they cannot be had

	resting   bool
	gogc      int           // of the process, while the collector rests
	limit     int64         // the same: its GOMEMLIMIT
	collected chan struct{} // there was a collection after rest
}

func newTrimmer() *trimmer { return &trimmer{collected: make(chan struct{}, 1)} }

const (
	// trimEvery is the least time between two trims: each is a whole collection.
	trimEvery = 30 * time.Second
	// trimQuiet is how many bytes may be allocated between two looks for the process to count as quiet.
	trimQuiet = 1 << 20
	// trimLeast is the least gain, in bytes, and trimPart the least part of what is live.
	trimLeast, trimPart = 4 << 20, 4
	// restRoom is how many bytes more a process may take while its collector rests, and restPart the least part of what
	// it has: beyond that there is a collection, and with it the rest ends.
	restRoom, restPart = 16 << 20, 8
)

// look trims if that is worth it, and has the collector rest if the process is asleep. It may take as long as a
// collection, on the calling goroutine.
func (t *trimmer) look(now time.Time, asleep bool) (trimmed bool) {
	h := lookAtHeap()
	quiet := h.allocs-t.before < trimQuiet
	t.before = h.allocs
	t.stays = min(t.stays, h.gain)
	if quiet && now.Sub(t.last) >= trimEvery && h.gain-t.stays >= max(trimLeast, h.live/trimPart) {
		t.last = now
		runtime.GC() // what pools have kept goes with the second collection
		debug.FreeOSMemory()
		h = lookAtHeap()
		t.stays, trimmed = h.gain, true
	}
	if asleep && quiet {
		t.rest(h.taken)
	} else {
		t.rise()
	}
	return trimmed
}

// heapUse is what the runtime says of it, in bytes.
type heapUse struct {
	allocs, live uint64
	gain         uint64 // what a collection may give back, and some more that it cannot: gaps between objects
	taken        int64  // from the system, as GOMEMLIMIT counts
}

func lookAtHeap() heapUse {
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

// rest stops collections, which look makes from now on where they gain something, and bounds what the process may take
// beyond what it has.
func (t *trimmer) rest(taken int64) {
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

// garbage is freed by the next collection. It has a pointer, so that it shares its place with nothing.
type garbage struct{ _ *garbage }

// rise has the collector work as before: something happens again.
func (t *trimmer) rise() {
	if !t.resting {
		return
	}
	t.resting = false
	debug.SetMemoryLimit(t.limit)
	debug.SetGCPercent(t.gogc)
}

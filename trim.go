package expedite

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// trimmer gives memory back to the system that a storm of connects or a reload has left behind. The runtime would
// keep as much again as is live, for the next storm: with a million idle connections, that is a gigabyte.
type trimmer struct {
	last   time.Time // when it has done so
	before uint64    // bytes allocated up to the last look
}

const (
	// trimEvery is the least time between two trims: each is a whole collection.
	trimEvery = 30 * time.Second
	// trimQuiet is how many bytes may be allocated between two looks for the process to count as quiet.
	trimQuiet = 1 << 20
	// trimLeast is the least gain, in bytes, and trimPart the least part of what is live.
	trimLeast, trimPart = 4 << 20, 4
)

// look trims if that is worth it. It may take as long as a collection, on the calling goroutine.
func (t *trimmer) look(now time.Time) (trimmed bool) {
	s := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(s[:])
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return s[i].Value.Uint64()
	}
	allocs, live := value(0), value(1)
	quiet := allocs-t.before < trimQuiet
	t.before = allocs
	gain := value(3) + value(4)
	if garbage := value(2); garbage > live {
		gain += garbage - live
	}
	if !quiet || now.Sub(t.last) < trimEvery || gain < max(trimLeast, live/trimPart) {
		return false
	}
	t.last = now
	debug.FreeOSMemory()
	return true
}

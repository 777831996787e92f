package traffic

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// Percentiles summarizes round-trip times. Each is measured from just before the write of a small message until its
// echo has been read.
type Percentiles struct {
	Count         uint64
	P50, P99, Max time.Duration // P50 and P99 are exact to 7 %
}

// String returns the percentiles on one line.
func (p Percentiles) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, max %v of %d", p.P50, p.P99, p.Max, p.Count)
}

// A histogram has 16 buckets per power of two nanoseconds.
const (
	subBits    = 4
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// histogram counts durations. It is safe for concurrent use.
type histogram struct {
	count [buckets]atomic.Uint64
	max   atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	h.count[bucket(uint64(max(d, 0)))].Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func bucket(ns uint64) int {
	if ns < subBuckets {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return shift*subBuckets + int(ns>>shift)
}

// highest returns the largest value that falls into bucket.
func highest(bucket int) uint64 {
	if bucket < 2*subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return uint64(bucket%subBuckets+subBuckets+1)<<shift - 1
}

func (h *histogram) percentiles() (p Percentiles) {
	var counts [buckets]uint64
	for i := range counts {
		counts[i] = h.count[i].Load()
		p.Count += counts[i]
	}
	p.Max = time.Duration(h.max.Load())
	seen := uint64(0)
	at := func(percent uint64) uint64 { return (p.Count*percent + 99) / 100 }
	for i, n := range counts {
		before := seen
		seen += n
		value := min(time.Duration(highest(i)), p.Max)
		if before < at(50) && at(50) <= seen {
			p.P50 = value
		}
		if before < at(99) && at(99) <= seen {
			p.P99 = value
		}
	}
	return p
}

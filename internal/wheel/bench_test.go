package wheel_test

import (
	"testing"

	"github.com/expedite-go/expedite/internal/wheel"
)

// BenchmarkSet moves the deadlines of 100,000 connections, as each read of a connection does.
func BenchmarkSet(b *testing.B) {
	const entries = 100_000
	w := wheel.New(tick, 512, 0)
	i, now := uint32(0), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		w.Set(i%entries, now+at(30_000))
		i++
		now += 1000
	}
}

// BenchmarkAdvance measures firing and setting again, per entry.
func BenchmarkAdvance(b *testing.B) {
	const entries = 100_000
	w := wheel.New(tick, 512, 0)
	for i := range uint32(entries) {
		w.Set(i, at(int64(i)))
	}
	now, fired := int64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		// One operation is one entry.
		for target := fired + 1; fired < target; {
			now += int64(tick)
			w.Advance(now, func(i uint32) { fired++; w.Set(i, now+at(entries)) })
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(fired, 1)), "ns/entry")
}

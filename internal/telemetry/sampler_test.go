package telemetry

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSampler(t *testing.T) {
	now := time.Unix(100, 0)
	s := NewSampler(3, func() time.Time { return now })
	allowed := func(n int) (got int) {
		for range n {
			if s.Allow() {
				got++
			}
		}
		return got
	}
	if got := allowed(10); got != 3 {
		t.Errorf("in one second: got %d, want 3", got)
	}
	now = now.Add(999 * time.Millisecond)
	if got, left := allowed(2), s.Suppressed(); got != 0 || left != 9 {
		t.Errorf("later in it: got %d and %d left out, want 0 and 9", got, left)
	}
	now = now.Add(time.Millisecond)
	if got, left := allowed(2), s.Suppressed(); got != 2 || left != 0 {
		t.Errorf("in the next: got %d and %d left out, want 2 and 0", got, left)
	}
	now = now.Add(-time.Hour)
	if got := allowed(5); got != 3 {
		t.Errorf("after a clock that was set back: got %d, want 3", got)
	}
}

func TestSamplerOfNothing(t *testing.T) {
	for _, n := range []int{0, -1} {
		s := NewSampler(n, nil)
		if s.Allow() || s.Suppressed() != 1 {
			t.Errorf("%d a second: got a line, want none, and 1 left out", n)
		}
	}
}

func TestSamplerConcurrently(t *testing.T) {
	now := time.Unix(100, 0)
	s := NewSampler(100, func() time.Time { return now })
	var allowed atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if s.Allow() {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got, left := allowed.Load(), s.Suppressed(); got != 100 || left != 3900 {
		t.Errorf("got %d and %d left out, want 100 and 3900", got, left)
	}
}

func BenchmarkSampler(b *testing.B) {
	s := NewSampler(100, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.Allow()
	}
}

package reactor

import (
	"sync"
	"sync/atomic"
)

// inbox passes values from any goroutine to the loop, in order. The loop takes all of them at once, so that it takes
// the lock once per turn and not once per value.
type inbox[T any] struct {
	count atomic.Int32 // length of waiting, readable without the lock

	mu      sync.Mutex
	waiting []T
	closed  bool

	spare []T // used by the loop: the storage of the previous batch
}

// put adds v. After close it reports false. The caller wakes the loop.
func (b *inbox[T]) put(v T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.waiting = append(b.waiting, v)
	b.count.Store(int32(len(b.waiting)))
	return true
}

// empty reports whether nothing waits.
func (b *inbox[T]) empty() bool { return b.count.Load() == 0 }

// take returns what waits, oldest first. The loop returns the slice with recycle.
func (b *inbox[T]) take() []T {
	if b.empty() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.waiting
	b.waiting, b.spare = b.spare[:0], nil
	b.count.Store(0)
	return got
}

// maxSpare is the maximum capacity of the storage that is kept.
const maxSpare = 4096

// recycle keeps the storage of a batch for a later one.
func (b *inbox[T]) recycle(batch []T) {
	clear(batch)
	if n := cap(batch); n > 0 && n <= maxSpare {
		b.spare = batch
	}
}

// close makes put refuse further values.
func (b *inbox[T]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

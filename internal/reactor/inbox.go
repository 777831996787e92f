package reactor

import (
	"sync"
	"sync/atomic"
)

// inbox carries things from any goroutine to the loop, in order. The loop takes all of them at once, so that a lock is
// taken once per turn and not once per thing.
type inbox[T any] struct {
	count atomic.Int32 // of waiting; lets the loop look without the lock

	mu      sync.Mutex
	waiting []T
	closed  bool

	spare []T // of the loop: the storage of the previous batch
}

// put adds v. It reports false after close. The caller wakes the loop.
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

// empty says that nothing waits.
func (b *inbox[T]) empty() bool { return b.count.Load() == 0 }

// take returns what waits, oldest first. The loop gives the slice back with recycle.
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

// maxSpare is the number of entries of which the storage is kept.
const maxSpare = 4096

// recycle keeps the storage of a batch for a later one.
func (b *inbox[T]) recycle(batch []T) {
	clear(batch)
	if n := cap(batch); n > 0 && n <= maxSpare {
		b.spare = batch
	}
}

// close refuses what is put from now on.
func (b *inbox[T]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Queue runs functions that write, one after the other, on a goroutine that exists while there are any. Make one with
// [New]. All methods are safe for concurrent use.
type Queue struct {
	limit int

	mu      sync.Mutex
	jobs    []job
	size    int // of jobs, and of the one that runs
	lost    uint64
	running bool          // the goroutine exists
	began   time.Time     // of the write that runs
	closed  bool          // what comes now is written at once
	idle    chan struct{} // closed when the goroutine ends; nil while nobody waits
}

// job is a write.
type job struct {
	size  int
	write func() error
}

// New makes a Queue that holds output up to limit: records or bytes, whatever its users count.
func New(limit int) *Queue { return &Queue{limit: limit} }

// Put queues a write and reports whether there was room. It never waits: without room the output counts as lost, and so
// does that of a write that fails or panics. An empty Queue has room for anything.
func (q *Queue) Put(size int, write func() error) bool {
	q.mu.Lock()
	if q.size > 0 && q.size+size > q.limit {
		q.lost += uint64(size)
		q.mu.Unlock()
		return false
	}
	if q.closed && !q.running {
		q.mu.Unlock()
		q.perform(job{size, write})
		return true
	}
	q.jobs = append(q.jobs, job{size, write})
	q.size += size
	if !q.running {
		q.running = true
		go q.run() // ends with an empty queue
	}
	q.mu.Unlock()
	return true
}

// run performs jobs until there are none.
func (q *Queue) run() {
	for {
		q.mu.Lock()
		if len(q.jobs) == 0 {
			q.jobs, q.running = nil, false
			if q.idle != nil {
				close(q.idle)
				q.idle = nil
			}
			q.mu.Unlock()
			return
		}
		j := q.jobs[0]
		q.jobs[0] = job{}
		q.jobs = q.jobs[1:]
		q.began = time.Now()
		q.mu.Unlock()

		q.perform(j)

		q.mu.Lock()
		q.size -= j.size
		q.began = time.Time{}
		q.mu.Unlock()
	}
}

// perform does one write.
func (q *Queue) perform(j job) {
	if err := attempt(j.write); err != nil {
		q.Lose(j.size)
	}
}

// attempt calls write; a panic in it, which no caller could handle any more, is an error.
func attempt(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("spool: panic: %v", p))
		}
	}()
	return write()
}

// Lose counts output that was dropped before it was queued.
func (q *Queue) Lose(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost += uint64(size)
}

// Drop drops what waits.
func (q *Queue) Drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		q.lost, q.size = q.lost+uint64(j.size), q.size-j.size
	}
	q.jobs = nil
}

// Lost is the sum of the sizes that were dropped.
func (q *Queue) Lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// ErrStuck says that a write has not returned for more than a second.
var ErrStuck = errors.New("spool: what takes the output is stuck")

// Flush waits until the Queue is empty. It returns the cause if ctx ends first, and ErrStuck without waiting.
func (q *Queue) Flush(ctx context.Context) error {
	q.mu.Lock()
	if !q.running {
		q.mu.Unlock()
		return nil
	}
	if !q.began.IsZero() && time.Since(q.began) > time.Second {
		q.mu.Unlock()
		return ErrStuck
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close flushes the Queue. From then on Put writes at once, in the caller's goroutine; if the Queue could not be
// flushed because a write is stuck, Put goes on as before.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.Flush(ctx)
}

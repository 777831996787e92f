package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Queue runs functions that write, one after the other, on a goroutine that exists while there are any. Use [New] to
// make one. All methods are safe for concurrent use.
type Queue struct {
	limit int

	mu      sync.Mutex
	jobs    []job
	size    int // of jobs, including the one that is running
	lost    uint64
	running bool          // the goroutine exists
	began   time.Time     // start of the write that is running
	closed  bool          // Put writes at once
	idle    chan struct{} // closed when the goroutine ends; nil if nothing waits for that
}

// job is a write that was queued.
type job struct {
	size  int
	write func() error
}

// New returns a Queue that holds output up to limit, in the unit of the sizes that are passed to Put.
func New(limit int) *Queue { return &Queue{limit: limit} }

// Put queues a write and reports whether there was room. It never blocks. Without room the output counts as lost, and
// so does the output of a write that fails or panics. An empty Queue has room for output of any size.
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

// perform runs one write.
func (q *Queue) perform(j job) {
	if err := attempt(j.write); err != nil {
		q.Lose(j.size)
	}
}

// attempt calls write and turns a panic, which no caller could recover from here, into an error.
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

// Drop drops what is queued.
func (q *Queue) Drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		q.lost, q.size = q.lost+uint64(j.size), q.size-j.size
	}
	q.jobs = nil
}

// Lost returns the sum of the sizes that were dropped.
func (q *Queue) Lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// errStuck is returned if a write has been running for more than a second.
var errStuck = errors.New("spool: the output is stuck")

// Flush blocks until the Queue is empty. If ctx ends first, it returns the cause. If a write is stuck, it returns
// errStuck at once.
func (q *Queue) Flush(ctx context.Context) error {
	q.mu.Lock()
	if !q.running {
		q.mu.Unlock()
		return nil
	}
	if !q.began.IsZero() && time.Since(q.began) > time.Second {
		q.mu.Unlock()
		return errStuck
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

// Close flushes the Queue. From then on Put writes at once, on the caller's goroutine. While the Queue is not empty,
// because a write is stuck, Put continues to queue.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.Flush(ctx)
}

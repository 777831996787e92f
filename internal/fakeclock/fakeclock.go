// Package fakeclock is a clock for tests, which move it.
package fakeclock

import (
	"sync"
	"time"
)

// Clock is a clock that stands still between calls of Advance. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// New returns a Clock. All clocks begin at the same time.
func New() *Clock { return &Clock{now: time.UnixMilli(1_700_000_000_000)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

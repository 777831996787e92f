package engine

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/expedite-go/expedite/ws"
)

const (
	// drainTick is the time between two portions of closes.
	drainTick = 20 * time.Millisecond
	// drainRate is the minimum number of closes per second in Drain: fewer would only delay the end.
	drainRate = 1000
	// drainShare is the part of the available time in which Drain spreads the closes. The rest is for closing handshakes.
	drainShare = 0.6
	// evictIdle is the time between two looks of Evict when no connection is open.
	evictIdle = time.Second
)

// Drain closes all connections with code. It spreads the closes over a part of the time until the deadline of ctx, so
// that the clients do not all reconnect at once. New handshakes are refused with 503. Drain returns when no connection
// is left, or with the error of ctx. It is safe for concurrent use, but must not be called on the loop.
func (e *Engine) Drain(ctx context.Context, code ws.CloseCode, reason string) error {
	e.draining.Store(true)
	e.hurryBodies()
	e.loop.Post(e.closeAllKept)
	portion := drainPortion(ctx, e.Len())
	return e.closePaced(ctx, ending{code: code, reason: reason}, pace{
		portion: func(int) int { return portion },
		next: func() time.Duration {
			if e.left() == 0 {
				return 0
			}
			return drainTick
		},
	})
}

// Evict closes all connections with code, also those that come meanwhile: it spreads the closes evenly until a time,
// in random order. It goes on until ctx ends, and refuses nothing: see Refuse. It is safe for concurrent use, but must
// not be called on the loop.
func (e *Engine) Evict(ctx context.Context, until time.Time, code ws.CloseCode, reason string) {
	_ = e.closePaced(ctx, ending{code: code, reason: reason}, pace{
		portion: func(open int) int { return evictPortion(open, time.Until(until), rand.Float64()) },
		next: func() time.Duration {
			if e.Len() == 0 {
				return evictIdle
			}
			return drainTick
		},
	})
}

// Refuse sets whether handshakes are refused with 503, as in a drain. Other requests are served. It is safe for
// concurrent use.
func (e *Engine) Refuse(all bool) { e.refusing.Store(all) }

// pace tells how fast connections are closed. Its functions run on the loop.
type pace struct {
	portion func(open int) int   // how many connections are closed now
	next    func() time.Duration // time until the next portion; 0 ends it
}

// closePaced closes connections in portions: a first one in any case, and others until ctx ends. It returns nil when
// the pace ends it, or after Stop.
func (e *Engine) closePaced(ctx context.Context, end ending, p pace) error {
	for at := -1; ; {
		next := make(chan time.Duration, 1)
		if !e.loop.Post(func() {
			if at < 0 {
				at = rand.IntN(len(e.conns) + 1)
			}
			at = e.closeSome(at, p.portion(e.Len()), end)
			next <- p.next()
		}) {
			return nil
		}
		select {
		case wait := <-next:
			if wait == 0 {
				return nil
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// closeAllKept closes the connections that wait for their next HTTP request, which should go elsewhere. On the loop.
func (e *Engine) closeAllKept() {
	for _, c := range e.conns {
		if c != nil {
			c.closeKept()
		}
	}
}

// drainPortion returns the number of connections to close per tick.
func drainPortion(ctx context.Context, connections int) int {
	portion := int(drainRate * drainTick / time.Second)
	if deadline, ok := ctx.Deadline(); ok {
		ticks := int(time.Duration(drainShare*float64(time.Until(deadline))) / drainTick)
		portion = max(portion, connections/max(ticks, 1)+1)
	}
	return portion
}

// evictPortion returns how many of the open connections to close in a tick so that the last one is closed after the
// time that is left. chance, 0 to 1, rounds the number: up as often as the number is above a whole one.
func evictPortion(open int, left time.Duration, chance float64) int {
	if left <= drainTick {
		return max(open, 1)
	}
	exact := float64(open) * float64(drainTick) / float64(left)
	return int(exact + chance)
}

// closeSome starts to close up to n open connections from index on, and returns the index to continue at. On the loop.
func (e *Engine) closeSome(index, n int, end ending) int {
	for range e.conns {
		if n == 0 {
			break
		}
		if index >= len(e.conns) {
			index = 0
		}
		c := e.conns[index]
		index++
		if c != nil && c.phase.Load() == phaseOpen {
			c.beginClose(end, end.reason)
			n--
		}
	}
	return index
}

// left returns the number of connections that Drain waits for: open ones, and those with the start of a request.
func (e *Engine) left() int {
	n := e.Len()
	for _, c := range e.conns {
		if c != nil && c.route == nil && c.in != nil {
			n++
		}
	}
	return n
}

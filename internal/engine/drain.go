package engine

import (
	"context"
	"time"

	"github.com/expedite-go/expedite/ws"
)

const (
	// drainTick is the time between two portions of closes.
	drainTick = 20 * time.Millisecond
	// drainRate is the minimum number of closes per second: fewer would only delay the end.
	drainRate = 1000
	// drainShare is the part of the available time in which the closes are spread. The rest is for closing handshakes.
	drainShare = 0.6
)

// Drain closes all connections with code. It spreads the closes over a part of the time until the deadline of ctx, so
// that the clients do not all reconnect at once. New handshakes are refused with 503. Drain returns when no connection
// is left, or with the error of ctx. It is safe for concurrent use, but must not be called on the loop.
func (e *Engine) Drain(ctx context.Context, code ws.CloseCode, reason string) error {
	e.draining.Store(true)
	e.hurryBodies()
	e.loop.Post(e.closeAllKept)
	portion := drainPortion(ctx, e.Len())
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for next := 0; ; {
		state := make(chan int, 1)
		if !e.loop.Post(func() { next = e.closeSome(next, portion, code, reason); state <- e.left() }) {
			return nil
		}
		select {
		case left := <-state:
			if left == 0 {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-tick.C:
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

// closeSome starts to close up to n open connections from index on, and returns the index to continue at. On the loop.
func (e *Engine) closeSome(index, n int, code ws.CloseCode, reason string) int {
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
			c.beginClose(ending{code: code, reason: reason}, reason)
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

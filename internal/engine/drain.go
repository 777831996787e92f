package engine

import (
	"context"
	"time"

	"github.com/expedite-go/expedite/ws"
)

const (
	// drainTick is the time between two portions of closes.
	drainTick = 20 * time.Millisecond
	// drainRate is the least number of closes per second: fewer would only delay the end.
	drainRate = 1000
	// drainShare is the part of the time in which the closes are spread; the rest is for closing handshakes.
	drainShare = 0.6
)

// Drain closes all connections with code, spread over a part of the time that ctx has, so that their clients do not
// come back all at once. New handshakes are refused with 503. It returns when none is left, or with the error of ctx.
// Any goroutine but the loop's.
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

// closeAllKept ends the connections that wait for another HTTP request: nobody should send it here. On the loop.
func (e *Engine) closeAllKept() {
	for _, c := range e.conns {
		if c != nil {
			c.closeKept()
		}
	}
}

// drainPortion is the number of connections to close per tick.
func drainPortion(ctx context.Context, connections int) int {
	portion := int(drainRate * drainTick / time.Second)
	if deadline, ok := ctx.Deadline(); ok {
		ticks := int(time.Duration(drainShare*float64(time.Until(deadline))) / drainTick)
		portion = max(portion, connections/max(ticks, 1)+1)
	}
	return portion
}

// closeSome begins to close up to n open connections, from index on, and returns where to go on. On the loop.
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

// left is the number of connections that Drain waits for: the open ones, and those that have begun a request.
func (e *Engine) left() int {
	n := e.Len()
	for _, c := range e.conns {
		if c != nil && c.route == nil && c.in != nil {
			n++
		}
	}
	return n
}

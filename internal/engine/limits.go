package engine

import "sync/atomic"

// Limits are the limits of Config that can change while the engine runs.
type Limits struct{ MaxConnections, MaxHandshakes, MaxPerAddress, MaxHTTPConnections int }

// SetLimits changes the limits; zero values have the meaning that they have in Config. Connections beyond a new limit
// stay. Those that were opened without a limit per address are not counted for it. It is safe for concurrent use.
func (e *Engine) SetLimits(l Limits) {
	if l.MaxHandshakes == 0 {
		l.MaxHandshakes = DefaultMaxHandshakes
	}
	if l.MaxHTTPConnections == 0 {
		l.MaxHTTPConnections = DefaultMaxHTTP
	}
	e.limits.connections.Store(int64(l.MaxConnections))
	e.limits.handshakes.Store(int64(l.MaxHandshakes))
	e.limits.http.Store(int64(l.MaxHTTPConnections))
	e.addresses.limit.Store(int64(l.MaxPerAddress))
}

// limits are the current limits, except the one per address. 0 connections means no limit.
type limits struct{ connections, handshakes, http atomic.Int64 }

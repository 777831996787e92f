package engine

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// httpReserve is the number of connections beyond Config.MaxHTTPConnections that serve requests which Config.Vital
	// names.
	httpReserve = 64
	// httpWritePart is how much is written with one deadline.
	httpWritePart = 64 << 10
)

// httpConn is a connection that Config.HTTP has. It is counted until it is closed or back on the loop, where it is
// counted as long as it waits for another request: see Conn.tally. A write fails when the client has taken nothing for
// Config.ResponseTimeout.
type httpConn struct {
	net.Conn
	eng     *Engine
	remote  netip.AddrPort
	counted bool // among the connections of its address
	ended   atomic.Bool

	mu      sync.Mutex
	writeBy time.Time // the deadline that net/http or a handler has set; zero is none
}

// httpRoom reports whether HTTP may have one more connection, for a request that is vital or not.
func (e *Engine) httpRoom(vital bool) bool {
	limit := int64(e.cfg.MaxHTTPConnections)
	if vital {
		limit += httpReserve
	}
	return e.http.Load() < limit
}

// httpFull reports whether HTTP has more connections than Config.MaxHTTPConnections.
func (e *Engine) httpFull() bool { return e.http.Load() > int64(e.cfg.MaxHTTPConnections) }

// lend makes the connection behind c, which has left the loop, one of HTTP.
func (c *Conn) lend(conn net.Conn) *httpConn {
	c.eng.http.Add(1)
	h := &httpConn{Conn: conn, eng: c.eng, remote: c.remote, counted: c.loopBits&bitCounted != 0}
	c.loopBits &^= bitCounted
	return h
}

// reclaim ends the time of a connection with HTTP without closing it. What is no such connection is returned as it is.
func reclaim(conn net.Conn) net.Conn {
	if h, ok := conn.(*httpConn); ok {
		h.end()
		return h.Conn
	}
	return conn
}

// end takes the connection out of the counts.
func (h *httpConn) end() {
	if h.ended.Swap(true) {
		return
	}
	h.eng.http.Add(-1)
	if h.counted {
		h.eng.addresses.leave(h.remote)
	}
}

// Close is part of net.Conn.
func (h *httpConn) Close() error {
	h.end()
	return h.Conn.Close()
}

// CloseWrite lets net/http end the response before it closes the connection, so that the client reads all of it.
func (h *httpConn) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Write writes all of b unless the client stops reading.
func (h *httpConn) Write(b []byte) (n int, err error) {
	for {
		if err := h.extend(); err != nil {
			return n, err
		}
		written, err := h.Conn.Write(b[n:min(n+httpWritePart, len(b))])
		n += written
		if errors.Is(err, os.ErrDeadlineExceeded) && !h.late() {
			if written > 0 {
				continue // the client reads, if slowly
			}
			h.eng.count.limit(limitResponseTime)
		}
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// extend sets the deadline of the next write.
func (h *httpConn) extend() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Conn.SetWriteDeadline(h.deadline())
}

// deadline is the earlier one of the two: for progress, and what was set. With h.mu held.
func (h *httpConn) deadline() time.Time {
	limit := h.eng.cfg.ResponseTimeout
	if limit < 0 {
		return h.writeBy
	}
	by := time.Now().Add(limit)
	if !h.writeBy.IsZero() && h.writeBy.Before(by) {
		return h.writeBy
	}
	return by
}

// late reports whether the deadline that was set has passed.
func (h *httpConn) late() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.writeBy.IsZero() && !time.Now().Before(h.writeBy)
}

// SetWriteDeadline is part of net.Conn.
func (h *httpConn) SetWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeBy = t
	return h.Conn.SetWriteDeadline(h.deadline())
}

// SetDeadline is part of net.Conn.
func (h *httpConn) SetDeadline(t time.Time) error {
	return errors.Join(h.Conn.SetReadDeadline(t), h.SetWriteDeadline(t))
}

var _ net.Conn = (*httpConn)(nil)

package engine

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Requests is a connection as net/http has it: for one request at a time. Behind a request it reads the next head as
// the loop does, and goes on only with a request that is net/http's. Otherwise, or if no request comes soon, it has
// ended for net/http, and the connection behind it returns to the loop. So all requests are held to the same rules, and
// a connection that is kept alive has no goroutine.
//
// A body that makes no progress for Config.BodyTimeout ends the connection.
type Requests struct {
	net.Conn
	eng    *Engine
	remote netip.AddrPort

	// For the goroutine that reads.
	extent extent
	unread []byte // what was read from the connection and not by net/http
	ahead  bool   // the first byte of unread, which belongs to the next request, was given to net/http
	failed error  // of the body

	mu     sync.Mutex
	stage  httpStage
	readBy time.Time // what net/http or a handler has set as deadline; zero is none
	bodyBy time.Time // when the body must have made progress; zero while nobody waits for it
}

type httpStage uint8

const (
	httpServing  httpStage = iota
	httpKept               // a request was answered, the next one is awaited
	httpHijacked           // a handler has taken the connection: it does not end with the request
	httpOver               // the connection is closed, or back on the loop
)

const (
	// drainBodyTimeout is what Config.BodyTimeout becomes in a drain.
	drainBodyTimeout = 500 * time.Millisecond
	// httpLinger is how long the next request is awaited before the connection returns to the loop. That takes three
	// times the processor time of a small request: see docs/decisions/0013.
	httpLinger = 100 * time.Millisecond
)

// serveHTTP gives a request to net/http: a connection, what was read of it, and where in that the request ends.
func (e *Engine) serveHTTP(conn net.Conn, remote netip.AddrPort, unread []byte, end extent) {
	x := &Requests{Conn: conn, eng: e, remote: remote, unread: unread, extent: end}
	e.requestsMu.Lock()
	e.requests[x] = struct{}{}
	e.requestsMu.Unlock()
	e.count.http.Add(1)
	e.cfg.HTTP(x)
}

// Read reads up to the end of the request. Behind it, net/http only wants to know whether the client is still there.
func (x *Requests) Read(p []byte) (int, error) {
	switch x.at() {
	case httpOver:
		return 0, io.EOF
	case httpKept:
		if err := x.next(); err != nil {
			return 0, err
		}
	case httpHijacked:
		if len(x.unread) == 0 {
			return x.Conn.Read(p)
		}
		n := copy(p, x.unread)
		x.unread = x.unread[n:]
		return n, nil
	}
	if x.extent.over() {
		return x.readAhead(p)
	}
	if len(x.unread) > 0 {
		n, err := x.extent.take(x.unread[:min(len(p), len(x.unread))])
		copy(p, x.unread[:n])
		x.unread = x.unread[n:]
		x.failed = err
		return n, err
	}
	if x.failed != nil {
		return 0, x.failed
	}
	return x.readBody(p)
}

// at is where the connection stands.
func (x *Requests) at() httpStage {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stage
}

// readAhead gives net/http one byte of the next request, which makes it wait for its handler before it reads on.
func (x *Requests) readAhead(p []byte) (int, error) {
	switch {
	case x.ahead:
		return 0, io.EOF
	case len(x.unread) == 0:
		n, err := x.Conn.Read(p[:min(len(p), 1)])
		x.unread, x.ahead = append(x.unread, p[:n]...), n > 0
		return n, err
	}
	x.ahead = true
	return copy(p[:min(len(p), 1)], x.unread), nil
}

// readBody waits for more of the body.
func (x *Requests) readBody(p []byte) (int, error) {
	x.await(x.eng.bodyTimeout())
	n, err := x.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && x.late() {
		x.eng.count.limit(limitBodyTime)
		x.failed = err
	}
	taken, bad := x.extent.take(p[:n])
	x.unread = append(x.unread, p[taken:n]...)
	if bad != nil {
		err, x.failed = bad, bad
	}
	if x.extent.over() || x.failed != nil {
		x.await(0)
	}
	return taken, err
}

// await lets the body make progress within d. 0 says that nothing is awaited.
func (x *Requests) await(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bodyBy = time.Time{}
	if d > 0 {
		x.bodyBy = time.Now().Add(d)
	}
	_ = x.setReadDeadline() // it fails on a connection that is closed: so does the read
}

// late says that the body has not made progress in time.
func (x *Requests) late() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.bodyBy.IsZero() && !time.Now().Before(x.bodyBy)
}

// hurry shortens the wait for a body, because the engine drains. Any goroutine.
func (x *Requests) hurry() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if by := time.Now().Add(drainBodyTimeout); by.Before(x.bodyBy) {
		x.bodyBy = by
		_ = x.setReadDeadline()
	}
}

// setReadDeadline applies the earlier of both deadlines. With x.mu held.
func (x *Requests) setReadDeadline() error {
	if x.stage == httpOver {
		return net.ErrClosed
	}
	by := x.readBy
	if by.IsZero() || !x.bodyBy.IsZero() && x.bodyBy.Before(by) {
		by = x.bodyBy
	}
	return x.Conn.SetReadDeadline(by)
}

// SetReadDeadline is part of net.Conn.
func (x *Requests) SetReadDeadline(t time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.readBy = t
	return x.setReadDeadline()
}

// SetDeadline is part of net.Conn.
func (x *Requests) SetDeadline(t time.Time) error {
	return errors.Join(x.SetReadDeadline(t), x.Conn.SetWriteDeadline(t))
}

// CloseWrite lets net/http end the answer before it closes the connection, so that the client reads all of it.
func (x *Requests) CloseWrite() error {
	if c, ok := x.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Hijacked says that a handler has taken the connection over: it is read beyond the request from here on.
func (x *Requests) Hijacked() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.change(httpHijacked)
	x.bodyBy = time.Time{}
	if x.ahead {
		x.unread, x.ahead = x.unread[1:], false
	}
}

// Keep says that net/http has answered the request and waits for another one.
func (x *Requests) Keep() {
	if !x.extent.over() {
		_ = x.Close() // net/http saw an end of the body that is none
		return
	}
	x.become(httpKept)
}

// become changes the stage of a connection that is not over.
func (x *Requests) become(stage httpStage) (ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ok = x.stage != httpOver; ok {
		x.change(stage)
	}
	return ok
}

// change changes the stage, and counts. With x.mu held.
func (x *Requests) change(stage httpStage) {
	if x.stage == httpKept {
		x.eng.returning.Add(-1)
	}
	if stage == httpKept {
		x.eng.returning.Add(1)
	}
	x.stage = stage
}

// next waits for another request. It fails with io.EOF if the connection returns to the loop.
func (x *Requests) next() error {
	if len(x.unread) == 0 {
		x.linger(true)
		x.await(httpLinger)
		if x.eng.leaving.Load() { // Depart may have come before
			x.recall()
		}
		buf := make([]byte, httpBuffer)
		n, err := x.Conn.Read(buf)
		x.unread = buf[:n]
		x.await(0)
		x.linger(false)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if x.nextHead() {
		return nil
	}
	x.eng.returning.Add(1)
	if !x.finish() || x.Conn.SetDeadline(time.Time{}) != nil || !x.eng.keep(x.Conn, x.remote, x.unread) {
		x.eng.returning.Add(-1)
		_ = x.Conn.Close()
	}
	return io.EOF
}

// httpBuffer is for heads of usual length; longer ones return to the loop.
const httpBuffer = 4 << 10

// nextHead says whether the next request is complete up to its body, and net/http's.
func (x *Requests) nextHead() bool {
	before := ws.EmptyLines(x.unread)
	if before > 0 && x.ahead {
		return false // net/http, which has seen the first byte, would not ignore them
	}
	end := ws.HeadEnd(x.unread, before)
	if end < 0 || end-before > x.eng.cfg.MaxHead || x.eng.draining.Load() {
		return false
	}
	req, err := ws.ParseRequest(x.unread[before:end])
	if err != nil || !x.eng.plain(&req) || x.eng.httpFull() && !x.eng.vital(&req) || !x.become(httpServing) {
		return false
	}
	x.unread, x.extent = x.unread[before:], newExtent(end-before, req.ContentLength)
	if x.ahead {
		_, _ = x.extent.take(x.unread[:1]) // the head is longer
		x.unread, x.ahead = x.unread[1:], false
	}
	x.eng.count.http.Add(1)
	return true
}

// Close closes the connection, unless it is back on the loop.
func (x *Requests) Close() error {
	if !x.finish() {
		return nil
	}
	return x.Conn.Close()
}

// finish ends x, whose connection is the caller's then. It reports false if x has ended before.
func (x *Requests) finish() bool {
	x.mu.Lock()
	before := x.stage
	x.change(httpOver)
	x.mu.Unlock()
	x.eng.requestsMu.Lock()
	delete(x.eng.requests, x)
	delete(x.eng.lingering, x)
	x.eng.requestsMu.Unlock()
	return before != httpOver
}

// bodyTimeout is how long a request's body may make no progress.
func (e *Engine) bodyTimeout() time.Duration {
	if e.draining.Load() {
		return min(e.cfg.BodyTimeout, drainBodyTimeout)
	}
	return e.cfg.BodyTimeout
}

// hurryBodies ends requests whose bodies do not come, soon. After draining is set.
func (e *Engine) hurryBodies() {
	e.requestsMu.Lock()
	defer e.requestsMu.Unlock()
	for x := range e.requests {
		x.hurry()
	}
}

var _ net.Conn = (*Requests)(nil)

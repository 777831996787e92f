package engine

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/ws"
)

// Requests is a connection in the HTTP fallback. net/http gets one request at a time from it. After a request, Requests
// reads the next head as the loop would, and continues only if that request is also for net/http. Otherwise, or if no
// request comes soon, the connection ends for net/http and returns to the loop. So all requests obey the same rules,
// and a connection that is kept alive has no goroutine.
//
// A body that makes no progress for Config.BodyTimeout ends the connection.
type Requests struct {
	net.Conn
	eng  *Engine
	from origin

	// Used only by the goroutine that reads.
	who    forwarded.Client // of the request
	extent extent
	unread []byte // bytes read from the connection but not yet by net/http
	ahead  bool   // net/http was given the first byte of unread, which belongs to the next request
	failed error  // error of the body

	mu     sync.Mutex
	stage  httpStage
	readBy time.Time // read deadline set by net/http or a handler; zero means none
	bodyBy time.Time // when the body must have made progress; zero if nobody waits for it
}

type httpStage uint8

const (
	httpServing  httpStage = iota
	httpKept               // a request was answered, and the next one is awaited
	httpHijacked           // a handler has taken over the connection: it does not end with the request
	httpOver               // the connection is closed or back on the loop
)

const (
	// drainBodyTimeout replaces Config.BodyTimeout while the engine drains.
	drainBodyTimeout = 500 * time.Millisecond
	// httpLinger is how long Requests waits for the next request before the connection returns to the loop. Returning
	// takes three times the processor time of a small request: see docs/decisions/0013.
	httpLinger = 100 * time.Millisecond
)

// serveHTTP starts the HTTP fallback for a connection.
func (e *Engine) serveHTTP(x *Requests) {
	e.requestsMu.Lock()
	e.requests[x] = struct{}{}
	e.requestsMu.Unlock()
	e.count.http.Add(1)
	e.cfg.HTTP(x)
}

// Read reads up to the end of the request. After that, net/http reads only to notice whether the client is still there.
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

// at returns the current stage.
func (x *Requests) at() httpStage {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stage
}

// readAhead gives net/http one byte of the next request. net/http then waits for its handler before it reads on.
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

// await sets the time in which the body must make progress. 0 means that nothing is awaited.
func (x *Requests) await(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bodyBy = time.Time{}
	if d > 0 {
		x.bodyBy = time.Now().Add(d)
	}
	_ = x.setReadDeadline() // it fails if the connection is closed, and so does the read
}

// late reports whether the body has not made progress in time.
func (x *Requests) late() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.bodyBy.IsZero() && !time.Now().Before(x.bodyBy)
}

// hurry shortens the wait for a body because the engine drains. It is safe for concurrent use.
func (x *Requests) hurry() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if by := time.Now().Add(drainBodyTimeout); by.Before(x.bodyBy) {
		x.bodyBy = by
		_ = x.setReadDeadline()
	}
}

// setReadDeadline sets the earlier of both deadlines. x.mu must be held.
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

// SetReadDeadline sets a deadline in addition to that of the body.
func (x *Requests) SetReadDeadline(t time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.readBy = t
	return x.setReadDeadline()
}

// SetDeadline sets the read and the write deadline.
func (x *Requests) SetDeadline(t time.Time) error {
	return errors.Join(x.SetReadDeadline(t), x.Conn.SetWriteDeadline(t))
}

// Client returns who sent the request, for which a handler is called now. It reports false if that is the peer of the
// connection, and no proxy has told more.
func (x *Requests) Client() (who forwarded.Client, relayed bool) {
	return x.who, x.from.via&viaHeader != 0 || x.from.relays()
}

// Redirects reports whether the client that has sent the request has to use TLS instead, at another address.
func (x *Requests) Redirects() bool { return x.from.redirects(&x.who) }

// RemoteAddr returns the address of the client that has sent the request.
func (x *Requests) RemoteAddr() net.Addr {
	if who, relayed := x.Client(); relayed && who.Addr.IsValid() {
		return net.TCPAddrFromAddrPort(who.Addr)
	}
	return x.Conn.RemoteAddr()
}

// CloseWrite lets net/http end the response before it closes the connection, so that the client can read all of it.
func (x *Requests) CloseWrite() error {
	if c, ok := x.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Hijacked must be called when a handler takes over the connection. From then on reads may go beyond the request.
func (x *Requests) Hijacked() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.change(httpHijacked)
	x.bodyBy = time.Time{}
	if x.ahead {
		x.unread, x.ahead = x.unread[1:], false
	}
}

// Keep must be called when net/http has answered the request and waits for the next one.
func (x *Requests) Keep() {
	if !x.extent.over() {
		_ = x.Close() // net/http saw the end of a body that is incomplete
		return
	}
	x.bill(nil)
	x.become(httpKept)
}

// become changes the stage unless the connection is over. It reports whether it did.
func (x *Requests) become(stage httpStage) (ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ok = x.stage != httpOver; ok {
		x.change(stage)
	}
	return ok
}

// change changes the stage and updates the counters. x.mu must be held.
func (x *Requests) change(stage httpStage) {
	if x.stage == httpKept {
		x.eng.returning.Add(-1)
	}
	if stage == httpKept {
		x.eng.returning.Add(1)
	}
	x.stage = stage
}

// next waits for another request. It returns io.EOF if the connection returns to the loop.
func (x *Requests) next() error {
	if len(x.unread) == 0 {
		x.linger(true)
		x.await(httpLinger)
		if x.eng.leaving.Load() { // Depart may have been called before
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
	if !x.finish() || x.Conn.SetDeadline(time.Time{}) != nil || !x.eng.keep(x.Conn, x.from, x.unread) {
		x.eng.returning.Add(-1)
		_ = x.Conn.Close()
	}
	return io.EOF
}

// httpBuffer fits heads of usual length. With a longer one, the connection returns to the loop.
const httpBuffer = 4 << 10

// nextHead reports whether the head of the next request is complete and the request is for net/http. If so, it begins
// that request.
func (x *Requests) nextHead() bool {
	before := ws.EmptyLines(x.unread)
	if before > 0 && x.ahead {
		return false // net/http has seen the first byte and would not ignore the lines
	}
	end := ws.HeadEnd(x.unread, before)
	if end < 0 || end-before > x.eng.cfg.MaxHead || x.eng.draining.Load() {
		return false
	}
	req, err := ws.ParseRequest(x.unread[before:end])
	if err != nil || !x.eng.plain(&req) || x.eng.httpFull() && !x.eng.vital(&req) {
		return false
	}
	who := x.eng.client(&x.from, &req)
	if !x.bill(&who) || !x.become(httpServing) {
		return false
	}
	x.unread, x.extent = x.unread[before:], newExtent(end-before, req.ContentLength)
	x.who = who
	if x.ahead {
		_, _ = x.extent.take(x.unread[:1]) // cannot be over: the head is longer
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

// finish ends x, after which the caller owns the connection. It reports false if x had ended before.
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

// bodyTimeout returns how long the body of a request may make no progress.
func (e *Engine) bodyTimeout() time.Duration {
	if e.draining.Load() {
		return min(e.cfg.BodyTimeout, drainBodyTimeout)
	}
	return e.cfg.BodyTimeout
}

// hurryBodies shortens the wait for all bodies. Call it after draining is set.
func (e *Engine) hurryBodies() {
	e.requestsMu.Lock()
	defer e.requestsMu.Unlock()
	for x := range e.requests {
		x.hurry()
	}
}

var _ net.Conn = (*Requests)(nil)

package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/internal/proxyproto"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// Upgrade is a handshake that is valid and waits for the application's decision.
type Upgrade struct {
	Request   *ws.Request
	Handshake ws.Handshake
	// Scheme is http or https: how the client reached the first proxy. It is https if the client itself uses TLS, and
	// else empty if no trusted proxy has told.
	Scheme string
	// TLS is the state of the TLS connection to the peer, or nil.
	TLS *tls.ConnectionState
	// Conn is the future connection. It takes no messages yet.
	Conn *Conn
	// ID is the id that the connection will have.
	ID uint64
	// Dropped is called if Authorize has accepted the client but the connection does not open, because the client has
	// left or there is no room. Authorize may set it. It must not block.
	Dropped func()

	held held // on the loop
}

// The engine's own refusals. RFC 9110 §15.
var (
	errHeadTooLarge = &ws.HandshakeError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "request head too large"}
	errHeadTooSlow  = &ws.HandshakeError{Status: http.StatusRequestTimeout, Reason: "request head took too long"}
	errInternal     = &ws.HandshakeError{Status: http.StatusInternalServerError, Reason: "internal error"}
	errPerAddress   = &ws.HandshakeError{
		Status: http.StatusTooManyRequests, Reason: "too many connections from this address", Header: retryAfter("5"),
	}
	errUnnamed = &ws.HandshakeError{
		Status: http.StatusBadRequest, Reason: "the proxy's fields do not name its client",
	}
	errNotUpgrade = &ws.HandshakeError{
		Status: http.StatusUpgradeRequired, Reason: "this is a WebSocket endpoint",
		Header: []ws.Field{{Name: "Upgrade", Value: "websocket"}, {Name: "Sec-WebSocket-Version", Value: "13"}},
	}
)

// errConnectRate returns the refusal of a client that may connect again after a wait. RFC 6585 §4.
func errConnectRate(wait int64) *ws.HandshakeError {
	return &ws.HandshakeError{
		Status: http.StatusTooManyRequests, Reason: "too many new connections from this address",
		Header: retryAfter(strconv.FormatInt((wait+second-1)/second, 10)),
	}
}

// retryAfter returns the fields of a refusal for some seconds. Pages of every origin may read such a refusal of a plain
// request, which is how they learn when to connect again: it contains nothing about the client.
func retryAfter(seconds string) []ws.Field {
	return []ws.Field{
		{Name: "Retry-After", Value: seconds},
		{Name: "Access-Control-Allow-Origin", Value: "*"},
		{Name: "Access-Control-Expose-Headers", Value: "Retry-After"},
	}
}

// unavailable returns a 503 with a Retry-After in seconds.
func unavailable(reason, after string) *ws.HandshakeError {
	return &ws.HandshakeError{
		Status: http.StatusServiceUnavailable, Reason: reason, Header: retryAfter(after),
		Body: []byte(`{"error":{"type":"temporarily_unavailable","code":"overloaded","message":"` +
			reason + `"}}` + "\n"),
		ContentType: "application/json",
	}
}

func unavailableInDrain() *ws.HandshakeError { return unavailable("this server is draining", "1") }

// feedHead collects the request head and acts on it when it is complete.
func (c *Conn) feedHead(b []byte) {
	if c.phase.Load() != phaseHead {
		c.hold(b) // the client did not wait for the decision: keep its bytes
		c.eng.boundPartials()
		return
	}
	from := 0
	if c.in != nil {
		from = len(c.in.buf)
		c.hold(b)
		b = c.in.buf
	}
	if c.via&viaWait != 0 {
		b, from = c.readHeader(b), 0
	}
	forged := proxyproto.Begins(b)
	if n := ws.EmptyLines(b); n > 0 {
		b, from = c.keepRest(b[n:]), 0
	}
	if len(b) == 0 {
		return
	}
	c.loopBits &^= bitHead
	if bytes.HasPrefix(b, []byte("HEAD ")) {
		c.loopBits |= bitHead
	}
	if c.beginHead() {
		defer c.boundHandshakes()
	}
	if forged {
		c.eng.count.limit(limitProxyUntrusted)
		c.refuse(errHeaderUntrusted)
		return
	}
	end := ws.HeadEnd(b, from)
	if end > c.eng.cfg.MaxHead || (end < 0 && len(b) >= c.eng.cfg.MaxHead) {
		c.eng.count.limit(limitHead)
		c.refuse(errHeadTooLarge)
		return
	}
	if end >= 0 {
		c.decide(b, end)
		return
	}
	if err := ws.CheckHead(b, from); err != nil {
		if b[0] == tlsHandshake {
			c.eng.tlsOnce.Do(func() {
				c.eng.cfg.Logger.Warn("a client uses TLS on a port without TLS", "remote", c.Peer())
			})
		}
		c.refuse(err)
		return
	}
	if c.in == nil {
		c.hold(b)
	}
	c.eng.boundPartials()
}

// tlsHandshake is the first byte of a TLS connection. RFC 8446 §5.1.
const tlsHandshake = 0x16

// hold keeps bytes for later.
func (c *Conn) hold(b []byte) {
	if len(b) > 0 {
		c.keep(b)
	}
}

// decide acts on a complete head, b[:end]. The rest of b is what the client sent after it.
func (c *Conn) decide(b []byte, end int) {
	e := c.eng
	req, err := ws.ParseRequest(b[:end])
	if err != nil {
		c.refuse(err)
		return
	}
	from := c.origin()
	who := e.client(&from, &req)
	plain := e.plain(&req) || from.redirects(&who) // net/http redirects those that want a WebSocket, too
	if !c.become(&from, &who, plain) {
		return
	}
	if plain {
		if e.cfg.HTTP == nil {
			c.refuse(errNotUpgrade)
			return
		}
		if e.draining.Load() {
			c.refuse(unavailableInDrain())
			return
		}
		vital := e.vital(&req)
		for !e.httpRoom(vital) && e.closeIdle() {
		}
		if !e.httpRoom(vital) {
			e.count.limit(limitHTTPConnections)
			c.refuse(unavailable("too many HTTP connections", "1"))
			return
		}
		c.serveHTTP(b, newExtent(end, req.ContentLength), from, who)
		return
	}
	route := e.routeOf(&req)
	shake, err := req.Negotiate(route.Subprotocols)
	if err == nil {
		err = e.room()
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.keepRest(b[end:])
	if route.Compression != nil {
		c.negotiate(route, &req, &shake)
	}
	c.authorize(route, &Upgrade{Request: &req, Handshake: shake, Conn: c, Scheme: who.Scheme, TLS: c.sock.TakeTLS()})
}

// negotiate agrees on permessage-deflate, if the client offers it in an acceptable form.
func (c *Conn) negotiate(route *Route, req *ws.Request, shake *ws.Handshake) {
	p, answer, ok := route.Compression.Accept(req.Values("Sec-WebSocket-Extensions"))
	if ok {
		c.agreed, shake.Extensions = agree(p), answer
	}
}

// plain reports whether a request is not for a WebSocket. It is safe for concurrent use.
func (e *Engine) plain(req *ws.Request) bool {
	return !req.WantsUpgrade() || e.routeOf(req) == nil
}

// routeOf returns the endpoint that a request names, or nil. It is safe for concurrent use.
func (e *Engine) routeOf(req *ws.Request) *Route {
	if e.cfg.Match == nil {
		return e.cfg.Route(req.Path)
	}
	return e.cfg.Match(req.RawPath)
}

// vital reports whether a request is served even beyond MaxHTTPConnections. It is safe for concurrent use.
func (e *Engine) vital(req *ws.Request) bool {
	return req.ContentLength == 0 && e.cfg.Vital != nil && e.cfg.Vital(req.Path)
}

// keepRest makes rest, which may be a part of c.in, the only input that c keeps. It returns the kept bytes.
func (c *Conn) keepRest(rest []byte) []byte {
	switch {
	case len(rest) == 0:
		c.dropInput()
		return nil
	case c.in == nil:
		c.hold(rest)
	default:
		c.eng.partials.bytes.Add(int64(len(rest) - len(c.in.buf)))
		c.in.buf = append(c.in.buf[:0], rest...)
	}
	return c.in.buf
}

// room returns an error if no more WebSockets may be opened.
func (e *Engine) room() error {
	if e.draining.Load() || e.refusing.Load() {
		return unavailableInDrain()
	}
	if most := e.limits.connections.Load(); most > 0 && int64(e.Len()) >= most {
		e.count.limit(limitConnections)
		return unavailable("too many connections", "5")
	}
	if e.short.Load() {
		e.count.limit(limitMemory)
		return unavailable("not enough memory", "5")
	}
	return nil
}

// SetShort sets whether memory is short. While it is, handshakes are refused with 503 and a Retry-After. Open
// connections and sockets before their handshake stay; see Shed. It is safe for concurrent use.
func (e *Engine) SetShort(short bool) { e.short.Store(short) }

// Shed closes connections until they hold need bytes less: first those with the largest incomplete messages, then those
// with the longest queues, then those with the most messages waiting for callbacks, then those in the handshake of TLS,
// and those that hold a part of a record. It spares connections that hold little. done is called on the loop with the
// number of bytes freed. After Stop, Shed reports false and does not call done. It is safe for concurrent use.
func (e *Engine) Shed(need int64, done func(freed int64)) bool {
	return e.Post(func() {
		freed := e.shedPartials(need, sheddable, limitMemoryClose)
		if freed < need {
			freed += e.shedQueues(need-freed, sheddable, limitMemoryClose)
		}
		if freed < need {
			freed += e.shedPending(need-freed, sheddable, limitMemoryClose)
		}
		freed += e.shedHandshakes(need-freed, limitMemoryClose)
		freed += e.shedSealed(need-freed, limitMemoryClose, arrivingRecords)
		freed += e.shedSealed(need-freed, limitMemoryClose, leavingRecords)
		done(freed)
	})
}

// authorize asks the application, on a goroutine if the callback may block.
func (c *Conn) authorize(route *Route, u *Upgrade) {
	e := c.eng
	u.ID = e.cfg.NewID()
	switch {
	case route.Authorize == nil:
		c.accept(route, u)
	case !route.Blocking:
		err := error(errInternal)
		defer func() { c.decided(route, u, err) }()
		err = e.guardAuthorize(context.Background(), route, u)
	case e.deciding.Load() >= int64(e.cfg.MaxAuthorizing):
		e.count.limit(limitAuthorizing)
		c.refuse(unavailable("too many clients are being authorized", "1"))
	default:
		e.deciding.Add(1)
		e.opening[u.ID] = u
		c.phase.Store(phaseDecide)
		c.stopReading(bitPaused)
		e.loop.SetDeadline(c.key, e.loop.Now()+int64(e.cfg.HandshakeTimeout))
		e.tasks.Add(1)
		e.loop.Runnable()
		go func() {
			defer e.tasks.Done()
			ctx, cancel := context.WithTimeout(context.Background(), e.cfg.HandshakeTimeout)
			defer cancel()
			err := error(errInternal) // if Authorize ends the goroutine
			defer func() {
				e.deciding.Add(-1)
				if !e.loop.Post(func() { c.decided(route, u, err) }) && err == nil {
					u.drop()
				}
			}()
			err = e.guardAuthorize(ctx, route, u)
		}()
	}
}

// guardAuthorize turns a panic of the application into a refusal.
func (e *Engine) guardAuthorize(ctx context.Context, route *Route, u *Upgrade) (err error) {
	returned := false
	defer func() {
		if !returned {
			e.Panicked("authorize", recover(), slog.String("remote", u.Conn.Peer()), slog.String("path", route.Path))
			err = errInternal
		}
	}()
	err = route.Authorize(ctx, u)
	returned = true
	return err
}

// drop informs the application that the connection does not open.
func (u *Upgrade) drop() {
	if u.Dropped != nil {
		u.Dropped()
	}
}

// decided acts on the application's decision, unless the client has left or timed out meanwhile.
func (c *Conn) decided(route *Route, u *Upgrade, err error) {
	delete(c.eng.opening, u.ID)
	if ph := c.phase.Load(); ph != phaseHead && ph != phaseDecide {
		if err == nil {
			u.drop()
		}
		return
	}
	if err == nil {
		if err = c.eng.room(); err != nil {
			u.drop()
		}
	}
	if err == nil {
		c.accept(route, u)
		return
	}
	if _, ok := errors.AsType[*ws.HandshakeError](err); !ok {
		c.eng.clientLog(slog.LevelInfo, "client refused", "remote", c.Peer(), "error", err)
		err = &ws.HandshakeError{Status: http.StatusForbidden, Reason: "forbidden"}
	}
	c.refuse(err)
}

// accept opens the WebSocket. The response leaves together with what Open sends.
func (c *Conn) accept(route *Route, u *Upgrade) {
	e := c.eng
	answer, err := ws.AppendResponse(nil, u.Handshake)
	if err != nil {
		e.clientLog(slog.LevelError, "handshake response cannot be written", "error", err)
		u.drop()
		c.refuse(errInternal)
		return
	}
	c.route = route
	c.id = u.ID
	c.addWindows()
	e.handshakes.Add(-1)
	e.count.opened.Add(1)
	e.idsMu.Lock()
	e.ids[c.id] = c
	e.idsMu.Unlock()

	c.mu.Lock()
	c.phase.Store(phaseOpen)
	c.outbox().addPinned(answer)
	e.count.queued(len(answer))
	c.markDirty()
	c.mu.Unlock()

	c.lastRead, c.lastPing = e.loop.Now(), e.loop.Now()
	c.expires = e.clock.unmoved(c.expires)
	c.startMeter(meter{})
	c.schedule()
	u.applyEnd()
	c.dispatch(event{kind: eventOpen})
	u.applyMessages()
	rest := c.takeInput()
	if rest != nil {
		c.feedFrames(rest.buf)
		e.release(rest)
	}
	c.resume()
}

// refuse answers with an HTTP error and then closes the connection.
func (c *Conn) refuse(err error) {
	e := c.eng
	he, ok := errors.AsType[*ws.HandshakeError](err)
	if !ok {
		he = &ws.HandshakeError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	e.count.refused(he.Status)
	c.loopBits |= bitSwallow | bitFailed
	c.mu.Lock()
	c.phase.Store(phaseRefused)
	answer := ws.AppendRefusal(nil, he)
	if c.loopBits&bitHead != 0 { // RFC 9110 §9.3.2
		answer = answer[:ws.HeadEnd(answer, 0)]
	}
	c.outbox().addPinned(answer)
	e.count.queued(len(answer))
	c.markDirty()
	c.mu.Unlock()
	e.line(c)
	c.resume()
}

// serveHTTP is the HTTP fallback: it passes the socket to net/http, which reads the bytes in read first. After the
// request, the socket returns to the loop.
func (c *Conn) serveHTTP(read []byte, end extent, from origin, who forwarded.Client) {
	e := c.eng
	unread := append([]byte(nil), read...)
	c.dropInput()
	c.phase.Store(phaseClosed)
	e.conns[c.key.Index] = nil
	e.handshakes.Add(-1)
	conn, rest, err := e.loop.Detach(c.key, c.sock)
	if err != nil {
		c.leave()
		e.clientLog(slog.LevelWarn, "connection lost on its way to net/http", "remote", c.Peer(), "error", err)
		return
	}
	e.serveHTTP(&Requests{
		Conn: c.lend(conn), eng: e, from: from, who: who, unread: append(unread, rest...), extent: end,
	})
}

// headTimeout ends a handshake that took too long.
func (c *Conn) headTimeout() {
	if c.loopBits&bitKept != 0 {
		c.eng.teardown(c)
		return
	}
	if c.via&viaWait != 0 {
		c.eng.count.limit(limitProxyTime)
		c.eng.teardown(c)
		return
	}
	c.eng.count.limit(limitHeadTime)
	if c.phase.Load() == phaseDecide {
		c.refuse(unavailable("authorization took too long", "1"))
		return
	}
	if c.in == nil {
		c.eng.teardown(c) // it sent nothing: browsers open such sockets in advance
		return
	}
	c.refuse(errHeadTooSlow)
}

// takeBack attaches a connection to the loop, as a descriptor if it is a plain socket.
func (e *Engine) takeBack(conn net.Conn) (reactor.Key, reactor.Socket, error) {
	conn = reclaim(conn)
	if k, s, ok := e.loop.Reattach(conn); ok {
		return k, s, nil
	}
	return e.loop.AddConn(conn)
}

package expedite

import (
	"context"
	"net/http"
	"net/url"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// endpoint is a Handler as the engine sees it.
type endpoint struct {
	*Handler
	app  *App
	path string
}

// authorize makes the connection's record, and asks the application if it wants to be asked.
func (e *endpoint) authorize(ctx context.Context, u *engine.Upgrade) error {
	c := &Conn{conn: u.Conn, end: e, query: u.Request.RawQuery}
	if e.Authorize != nil {
		var id auth.Identity
		if err := e.Authorize(httpRequest(ctx, u), &id); err != nil {
			return err
		}
		c.user = id.User
	}
	u.Conn.SetOwner(c)
	return nil
}

// Open is the engine's word that the handshake is done.
func (e *endpoint) Open(ec *engine.Conn) {
	c := owner(ec)
	if c.user != "" {
		_, _ = ec.Subscribe(userTopic(c.user)) // fails only if c is closed already
	}
	if e.Handler.Open != nil {
		e.Handler.Open(c)
	}
}

// Message is the engine's word that a message came.
func (e *endpoint) Message(ec *engine.Conn, op ws.Opcode, payload []byte) {
	if e.Handler.Message != nil {
		e.Handler.Message(owner(ec), messageOf(op, payload))
	}
}

// Drain is the engine's word that the queue has room again.
func (e *endpoint) Drain(ec *engine.Conn) {
	if e.Handler.Drain != nil {
		e.Handler.Drain(owner(ec))
	}
}

// Close is the engine's word that the connection has ended.
func (e *endpoint) Close(ec *engine.Conn, code ws.CloseCode, reason string) {
	if n := e.app.node.Load(); n != nil {
		n.moves.closed(ec.ID())
	}
	if e.Handler.Close != nil {
		e.Handler.Close(owner(ec), &CloseError{Code: code, Reason: reason})
	}
}

// Suspend is the engine's word that the connection is about to move.
func (e *endpoint) Suspend(ec *engine.Conn) ([]byte, error) {
	if e.Handler.Suspend == nil {
		return nil, nil
	}
	return e.Handler.Suspend(owner(ec))
}

// Resume is the engine's word that the connection has arrived.
func (e *endpoint) Resume(ec *engine.Conn, state []byte) error {
	if e.Handler.Resume == nil {
		return nil
	}
	return e.Handler.Resume(owner(ec), state)
}

func owner(ec *engine.Conn) *Conn { return ec.Owner().(*Conn) }

// httpRequest gives a handshake the form that handlers know. Its context ends when the handshake has taken too long.
func httpRequest(ctx context.Context, u *engine.Upgrade) *http.Request {
	from := u.Request
	header := make(http.Header, len(from.Header))
	for _, f := range from.Header {
		header.Add(f.Name, f.Value)
	}
	header.Del("Host") // net/http has it in a field of its own
	target, err := url.ParseRequestURI(from.Target)
	if err != nil {
		target = &url.URL{Path: from.Path, RawQuery: from.RawQuery}
	}
	r := &http.Request{
		Method: from.Method, URL: target, RequestURI: from.Target, Header: header, Host: from.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, RemoteAddr: u.Conn.Remote().String(),
	}
	return r.WithContext(ctx)
}

var _ engine.Handler = (*endpoint)(nil)

package expedite

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// endpoint is a Handler as the engine sees it.
type endpoint struct {
	*Handler
	app  *App
	path string
}

// authMode says whether clients have to identify themselves here.
func (e *endpoint) authMode() AuthMode {
	if e.Auth != AuthDefault {
		return e.Auth
	}
	return e.app.cfg.Auth.mode()
}

// authorize makes the connection's record, and lets the client in or not.
func (e *endpoint) authorize(ctx context.Context, u *engine.Upgrade) error {
	c := &Conn{conn: u.Conn, end: e, query: u.Request.RawQuery}
	n := e.app.node.Load()
	if n == nil { // the end of a process that serves alone
		return refused(http.StatusServiceUnavailable, "stopping", "the server stops")
	}
	if err := n.gate.admit(ctx, e, u, c); err != nil {
		he, reason := n.gate.refusal(err)
		n.gate.count(reason)
		if n.journal.sampled.Allow() {
			n.log.Info("client refused", "reason", reason, "status", he.Status, "remote", u.Conn.Remote().String(),
				"path", e.path, "error", err)
		}
		return he
	}
	u.Conn.SetOwner(c)
	return nil
}

// Open is the engine's word that the handshake is done.
func (e *endpoint) Open(ec *engine.Conn) {
	e.stir()
	c := owner(ec)
	n := e.app.node.Load()
	if n == nil {
		return
	}
	if user := c.User(); user != "" {
		_, _ = ec.Subscribe(userTopic(user)) // fails only if c is closed already
	}
	n.gate.keeper.opened(c)
	if n.journal.sampled.Allow() {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "client connected", c.attrs()...)
	}
	n.orders.recheck(c)
	if e.Handler.Open != nil {
		e.Handler.Open(c)
	}
}

// Message is the engine's word that a message came.
func (e *endpoint) Message(ec *engine.Conn, op ws.Opcode, payload []byte) {
	e.stir()
	if e.Handler.Message != nil {
		e.Handler.Message(owner(ec), messageOf(op, payload))
	}
}

// stir notes that something happens.
func (e *endpoint) stir() {
	if n := e.app.node.Load(); n != nil {
		n.pace.stir()
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
	e.stir()
	c := owner(ec)
	if e.Handler.Close != nil {
		defer e.Handler.Close(c, &CloseError{Code: code, Reason: reason})
	}
	n := e.app.node.Load()
	if n == nil {
		return
	}
	n.moves.closed(ec.ID())
	n.gate.keeper.left(session.Ref{ID: c.who.Load().sessionID(), Conn: ec.ID()})
	if n.journal.sampled.Allow() {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "client gone",
			append(c.attrs(), slog.Int("code", int(code)), slog.String("reason", reason))...)
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

package expedite

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// endpoint is a Handler as the engine sees it.
type endpoint struct {
	*Handler
	app  *App
	path string

	warned atomic.Bool // of data that does not move
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
	if e.State != nil {
		c.data = e.State.fresh()
	}
	n := e.app.node.Load()
	if n == nil { // the end of a process that serves alone
		return refused(http.StatusServiceUnavailable, "stopping", "the server stops")
	}
	if err := n.gate.admit(ctx, e, u, c); err != nil {
		he, reason := n.gate.refusal(err)
		n.gate.count(reason)
		if n.journal.Clients.Allow() {
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
	c.began = seconds()
	n := e.app.node.Load()
	if n == nil {
		return
	}
	if user := c.User(); user != "" {
		_, _ = ec.Subscribe(userTopic(user)) // fails only if c is closed already
	}
	n.orders.opened(c)
	n.gate.keeper.opened(c)
	if n.journal.Clients.Allow() {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "client connected", c.attrs()...)
	}
	if e.Handler.Open != nil {
		e.Handler.Open(c)
	}
}

// Message is the engine's word that a message came.
func (e *endpoint) Message(ec *engine.Conn, op ws.Opcode, payload []byte) {
	e.stir()
	c := owner(ec)
	c.spoke = true
	if e.Handler.Message != nil {
		e.Handler.Message(c, messageOf(op, payload))
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
	n.gate.keeper.left(c)
	if n.journal.Clients.Allow() {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "client gone",
			append(c.attrs(), slog.Int("code", int(code)), slog.String("reason", reason))...)
	}
}

// Gap is the engine's word that publications were missed.
func (e *endpoint) Gap(ec *engine.Conn, topic string, missed uint64) {
	e.stir()
	if topic != "" && topic[0] == 0 { // it is the App's own
		topic = ""
	}
	if e.Handler.Gap != nil {
		e.Handler.Gap(owner(ec), topic, missed)
	}
}

// Suspend is the engine's word that the connection is about to move.
func (e *endpoint) Suspend(ec *engine.Conn) ([]byte, error) {
	c := owner(ec)
	var carried []byte
	var err error
	if e.Handler.Suspend != nil {
		if carried, err = e.Handler.Suspend(c); err != nil {
			return nil, err
		}
	}
	if e.State == nil {
		return carried, nil
	}
	b, err := e.State.encode(c.data)
	if err == nil {
		c.state = &b
		return carried, nil
	}
	if e.Handler.Suspend != nil && e.Handler.Resume != nil { // it goes on here
		err = errors.Join(err, e.Handler.Resume(c, carried))
	}
	return nil, err
}

// Resume is the engine's word that the connection has arrived.
func (e *endpoint) Resume(ec *engine.Conn, state []byte) error {
	c := owner(ec)
	if c.state != nil && e.State != nil && c.data == nil { // else it has not left
		v, err := e.State.decode(*c.state)
		if err != nil {
			c.data = e.State.fresh() // for the callbacks of the end
			return err
		}
		c.data = v
	}
	c.state = nil
	if e.Handler.Resume == nil {
		return nil
	}
	return e.Handler.Resume(c, state)
}

// stays says whether a connection holds data that would be lost if it moved. While no callback runs.
func (e *endpoint) stays(ec *engine.Conn) bool {
	c, ok := ec.Owner().(*Conn)
	return ok && c.data != nil && !e.carries()
}

// warnStays tells once that connections of this endpoint do not survive a reload. A process by itself has none.
func (e *endpoint) warnStays() {
	if e.warned.Load() || e.app.desk.Load() != nil || !e.warned.CompareAndSwap(false, true) {
		return
	}
	e.app.Logger().Warn("connections that hold data cannot move: a reload closes them with 1012. "+
		"Set Handler.State (or Suspend and Resume) so that Conn.Data moves with them", "path", e.path)
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

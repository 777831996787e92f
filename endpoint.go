package expedite

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/ws"
)

// endpoint is a Handler in a worker, as the engine calls it.
type endpoint struct {
	access.Endpoint
	handler *Handler
	app     *App
	worker  *worker.Worker

	warned atomic.Bool // that connections with Data do not move
}

// routes returns the endpoints of a worker.
func (a *App) routes(w *worker.Worker) map[string]*engine.Route {
	routes := make(map[string]*engine.Route, len(a.handlers))
	for path, h := range a.handlers {
		e := &endpoint{
			Endpoint: access.Endpoint{
				Path: path, Pattern: a.patterns[path], Subprotocols: h.Subprotocols, Mode: access.Mode(h.Auth),
				Authorize: h.Authorize, Session: h.Session, MaxPerUser: h.maxPerUser(&a.cfg),
				PublishLimited: h.PublishRate.or(a.cfg.PublishRate).On(),
			},
			handler: h, app: a, worker: w,
		}
		routes[path] = e.route()
	}
	return routes
}

// route returns the engine's form of the handler.
func (e *endpoint) route() *engine.Route {
	h := e.handler
	idle, ping := h.silence(&e.app.cfg)
	r := &engine.Route{
		Path:         e.Path,
		Handler:      e,
		Carries:      h.carries(),
		Gaps:         h.Gap != nil,
		Stays:        e.stays,
		Save:         e.save,
		Load:         e.load,
		Inline:       h.Inline,
		Authorize:    e.authorize,
		Blocking:     h.Authorize != nil || h.Session || h.authMode(&e.app.cfg.Auth) != AuthOff,
		Subprotocols: h.Subprotocols,
		IdleTimeout:  idle,
		PingInterval: ping,
		CloseTimeout: clamp(h.CloseTimeout),
		QueueLimit:   h.QueueLimit,
		LowMark:      h.LowMark,
		Policy:       engine.Policy(h.Slow),
		MailboxLimit: h.MailboxLimit,
		MaxLifetime:  clamp(h.MaxLifetime),

		CompressAbove: h.CompressAbove,
	}
	if h.Recovered != nil {
		r.Recovered = e.recovered
	}
	if h.Session && len(e.app.cfg.History) > 0 {
		r.Replaced = access.CodeReplaced
		r.Leaves = func(ec *engine.Conn, received []engine.Mark) {
			e.worker.Tracker().Leave(&connOf(ec).client, received)
		}
	}
	if h.CompressAbove >= 0 {
		r.Compression = e.app.cfg.Compression.config()
	}
	cfg := &e.app.cfg
	r.Reader.MaxMessage, r.Reader.MaxFragments = h.maxMessage(cfg), h.maxFragments(cfg)
	r.MessageRate, r.OverRate = h.messageRate(cfg)
	r.PublishRate = h.PublishRate.or(cfg.PublishRate)
	r.Prepare()
	return r
}

// connOf returns the Conn of a connection that authorize or load has made.
func connOf(ec *engine.Conn) *Conn { return ec.Owner().(*Conn) }

// clientOf returns the access.Client of the owner of a connection; nil if it is not a Conn.
func clientOf(owner any) *access.Client {
	if c, ok := owner.(*Conn); ok {
		return &c.client
	}
	return nil
}

// authorize makes the Conn of a handshake, and admits the client or returns the answer that refuses it.
func (e *endpoint) authorize(ctx context.Context, u *engine.Upgrade) error {
	c := &Conn{end: e}
	c.client.Conn, c.client.Query = u.Conn, u.Request.RawQuery
	if e.handler.State != nil {
		c.data = e.handler.State.fresh()
	}
	if err := e.worker.Admit(ctx, &e.Endpoint, u, &c.client); err != nil {
		return err
	}
	u.Conn.SetOwner(c)
	return nil
}

// Open implements engine.Handler: the connection has opened.
func (e *endpoint) Open(ec *engine.Conn) {
	c := connOf(ec)
	e.worker.Opened(&e.Endpoint, &c.client)
	if e.handler.Open != nil {
		e.handler.Open(c)
	}
}

// Message implements engine.Handler: a whole message has come.
func (e *endpoint) Message(ec *engine.Conn, op ws.Opcode, payload []byte) {
	e.worker.Wake()
	c := connOf(ec)
	c.client.Spoke()
	if e.handler.Message != nil {
		e.handler.Message(c, messageOf(op, payload))
	}
}

// Drain implements engine.Handler: the queue of the connection has room again.
func (e *endpoint) Drain(ec *engine.Conn) {
	if e.handler.Drain != nil {
		e.handler.Drain(connOf(ec))
	}
}

// Close implements engine.Handler: the connection has ended.
func (e *endpoint) Close(ec *engine.Conn, code ws.CloseCode, reason string) {
	c := connOf(ec)
	if e.handler.Close != nil {
		defer e.handler.Close(c, &CloseError{Code: code, Reason: reason})
	}
	e.worker.Closed(&e.Endpoint, &c.client, code, reason)
}

// Gap implements engine.Handler: the connection has missed publications.
func (e *endpoint) Gap(ec *engine.Conn, topic string, missed uint64) {
	e.worker.Wake()
	if topic != "" && topic[0] == 0 { // it is not the application's
		topic = ""
	}
	if e.handler.Gap != nil {
		e.handler.Gap(connOf(ec), topic, missed)
	}
}

// Suspend implements engine.Handler: the connection is about to move.
func (e *endpoint) Suspend(ec *engine.Conn) ([]byte, error) {
	c, h := connOf(ec), e.handler
	var carried []byte
	var err error
	if h.Suspend != nil {
		if carried, err = h.Suspend(c); err != nil {
			return nil, err
		}
	}
	if h.State == nil {
		return carried, nil
	}
	b, err := h.State.encode(c.data)
	if err == nil {
		c.state = &b
		return carried, nil
	}
	if h.Suspend != nil && h.Resume != nil { // it stays here
		err = errors.Join(err, h.Resume(c, carried))
	}
	return nil, err
}

// Resume implements engine.Handler: the connection has arrived, or has come back.
func (e *endpoint) Resume(ec *engine.Conn, state []byte) error {
	c, h := connOf(ec), e.handler
	if c.state != nil && h.State != nil && c.data == nil { // else it has not left
		v, err := h.State.decode(*c.state)
		if err != nil {
			c.data = h.State.fresh() // for the last callbacks
			return err
		}
		c.data = v
	}
	c.state = nil
	if h.Resume == nil {
		return nil
	}
	return h.Resume(c, state)
}

// save returns the record of a connection that moves. On the loop.
func (e *endpoint) save(ec *engine.Conn) []byte {
	c := connOf(ec)
	return e.worker.Admission().Save(&c.client, c.state)
}

// load makes the Conn of a connection that has moved here from its record. On the loop.
func (e *endpoint) load(ec *engine.Conn, b []byte) error {
	c, err := e.loaded(ec, b)
	if err == nil {
		ec.SetOwner(c)
	}
	return err
}

func (e *endpoint) loaded(ec *engine.Conn, b []byte) (c *Conn, err error) {
	c = &Conn{end: e}
	c.client.Conn = ec
	if c.state, err = e.worker.Admission().Load(&c.client, b); err != nil {
		return nil, err
	}
	c.client.Ready(&e.Endpoint)
	switch {
	case e.handler.State == nil:
		c.state = nil
	case c.state == nil: // it comes from a release without State
		c.data = e.handler.State.fresh()
	}
	return c, nil
}

// stays reports whether a connection holds data that would be lost if it moved. It is called while no callback runs.
func (e *endpoint) stays(ec *engine.Conn) bool {
	c, ok := ec.Owner().(*Conn)
	return ok && c.data != nil && !e.handler.carries()
}

// warnStays logs once that connections of this endpoint do not survive a reload. A process that serves alone has no
// reloads.
func (e *endpoint) warnStays() {
	if e.warned.Load() || e.app.alone() || !e.warned.CompareAndSwap(false, true) {
		return
	}
	e.app.Logger().Warn("connections that hold data cannot move: a reload closes them with 1012. "+
		"Set Handler.State (or Suspend and Resume) so that Conn.Data moves with them", "path", e.Path)
}

var _ engine.Handler = (*endpoint)(nil)

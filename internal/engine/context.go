package engine

import (
	"context"
	"sync"
)

// contexts has the contexts of the connections that were asked for one. Its lock is a leaf lock: it is taken with
// Conn.mu held.
type contexts struct {
	mu   sync.Mutex
	list map[*Conn]connContext
}

// connContext is the context of a connection.
type connContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that ends when c can no longer be used in this process: when it is closing or closed, with
// the cause ErrClosed, or when it has moved to another worker, with ErrMoved; or with what Config.Cause makes of these.
// A move that fails does not end it. It is safe for concurrent use.
func (c *Conn) Context() context.Context {
	e := c.eng
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.phase.Load() {
	case phaseOpen:
	case phaseAway:
		if e.Lookup(c.id) != c {
			return e.endedContext(ErrMoved)
		}
	default:
		return e.endedContext(ErrClosed)
	}
	e.contexts.mu.Lock()
	defer e.contexts.mu.Unlock()
	x, ok := e.contexts.list[c]
	if !ok {
		if e.contexts.list == nil {
			e.contexts.list = make(map[*Conn]connContext)
		}
		x.Context, x.cancel = context.WithCancelCause(context.Background())
		e.contexts.list[c] = x
		c.bits |= bitContext
	}
	return x.Context
}

// endedContext returns a context that has ended.
func (e *Engine) endedContext(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(e.cfg.cause(cause))
	return ctx
}

// endContext ends the context of c, if it has one. c.mu must be held; the functions of context.AfterFunc run on their
// own goroutines.
func (c *Conn) endContext(cause error) {
	if c.bits&bitContext == 0 {
		return
	}
	c.bits &^= bitContext
	e := c.eng
	e.contexts.mu.Lock()
	x := e.contexts.list[c]
	delete(e.contexts.list, c)
	e.contexts.mu.Unlock()
	x.cancel(e.cfg.cause(cause))
}

// cause returns what Config.Cause makes of err.
func (c *Config) cause(err error) error {
	if c.Cause == nil {
		return err
	}
	return c.Cause(err)
}

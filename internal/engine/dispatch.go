package engine

import (
	"fmt"
	"runtime/debug"

	"github.com/expedite-go/expedite/ws"
)

// eventKind names the callbacks.
type eventKind uint8

const (
	eventOpen eventKind = iota
	eventMessage
	eventDrain
	eventClose
	eventResume
)

// event is one callback to make.
type event struct {
	kind eventKind
	op   ws.Opcode
	data []byte  // eventMessage, eventResume
	end  *ending // eventClose
}

// dispatch makes a callback: here and now if the route is inline, else behind the others of its connection. On the
// loop.
func (c *Conn) dispatch(ev event) {
	if !c.route.Inline {
		c.post(ev)
		return
	}
	c.eng.watch.enter()
	c.call(ev)
	c.eng.watch.leave()
}

// call makes a callback. A panic ends the connection and not the process.
func (c *Conn) call(ev event) {
	defer c.rescue()
	switch h := c.route.Handler; ev.kind {
	case eventMessage:
		h.Message(c, ev.op, ev.data)
	case eventOpen:
		h.Open(c)
	case eventDrain:
		h.Drain(c)
	case eventClose:
		h.Close(c, ev.end.code, ev.end.reason)
	case eventResume:
		if err := h.Resume(c, ev.data); err != nil {
			c.eng.cfg.Logger.Error("connection cannot resume", "conn", fmt.Sprintf("%016x", c.id), "error", err)
			_ = c.Close(ws.CloseServiceRestart, "the connection could not be moved")
		}
	}
}

func (c *Conn) rescue() {
	if p := recover(); p != nil {
		c.eng.panicked("callback", p)
		_ = c.Close(ws.CloseInternalError, "internal error")
	}
}

// panicked reports a panic of the application.
func (e *Engine) panicked(where string, p any) {
	e.count.panics.Add(1)
	e.cfg.Logger.Error("panic in "+where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

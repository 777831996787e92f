package engine

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/expedite-go/expedite/internal/reactor"
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
	eventGap   // moves with its connection, as the next one does: the numbers stay
	eventFrame // no callback: a publication that waits behind a Gap
)

// event is one callback to make.
type event struct {
	kind eventKind
	op   ws.Opcode
	data []byte  // eventMessage, eventResume; eventGap: how many (uvarint), topic; eventFrame: the frame
	end  *ending // eventClose
}

// dispatch makes a callback: here and now if the route is inline, else behind the others of its connection. On the
// loop.
func (c *Conn) dispatch(ev event) {
	if !c.route.Inline {
		c.post(ev)
		return
	}
	if c.eng.moving {
		c.eng.apart(func() { c.call(ev) })
		return
	}
	c.eng.watch.enter()
	defer c.eng.watch.leave()
	c.call(ev)
}

// apart runs f on a goroutine of its own and waits for its end. It is for callbacks on the loop that others stand in
// line behind: one that ends its goroutine does not end the line.
func (e *Engine) apart(f func()) {
	done := make(chan struct{})
	e.watch.enter()
	defer e.watch.leave()
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// call makes a callback. A panic or runtime.Goexit ends the connection, and not the process or the loop.
func (c *Conn) call(ev event) {
	returned := false
	defer c.rescue(&returned)
	switch h := c.route.Handler; ev.kind {
	case eventMessage:
		h.Message(c, ev.op, ev.data)
	case eventOpen:
		h.Open(c)
	case eventDrain:
		h.Drain(c)
	case eventClose:
		h.Close(c, ev.end.code, ev.end.reason)
	case eventGap:
		c.gap(ev.data)
	case eventFrame:
		c.sendHeld(ev.op, ev.data)
	case eventResume:
		if err := h.Resume(c, ev.data); err != nil {
			c.eng.clientLog(slog.LevelError, "connection cannot resume", "conn", fmt.Sprintf("%016x", c.id), "error", err)
			_ = c.Close(ws.CloseServiceRestart, "the connection could not be moved")
		}
	}
	returned = true
}

// rescue closes c if its callback has not returned.
func (c *Conn) rescue(returned *bool) {
	if *returned {
		return
	}
	p := recover()
	c.eng.Panicked("callback", p)
	_ = c.Close(ws.CloseInternalError, "internal error")
	if p == nil && c.route.Inline && !c.eng.moving {
		c.cutOff()
	}
}

// cutOff makes up for what the loop has not done because a callback ended its goroutine: the rest of what was read is
// lost, and what follows is swallowed. On the loop.
func (c *Conn) cutOff() {
	if c.gone() {
		return
	}
	c.loopBits |= bitSwallow | bitFailed
	c.loopBits &^= bitPaused | bitReadPending
	c.eng.loop.Again(c.key, reactor.Readable)
}

// Panicked counts and logs a panic of the application, with the stack; nil stands for runtime.Goexit. In the deferred
// function that has noticed it. Any goroutine.
func (e *Engine) Panicked(where string, p any) {
	if p == nil {
		p = "runtime.Goexit was called"
	}
	e.count.panics.Add(1)
	if e.cfg.MayLogFault == nil || e.cfg.MayLogFault() {
		e.cfg.Logger.Error("panic in "+where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

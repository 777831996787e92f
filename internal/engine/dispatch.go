package engine

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// eventKind is the kind of a callback.
type eventKind uint8

const (
	eventOpen eventKind = iota
	eventMessage
	eventDrain
	eventClose
	eventResume
	eventGap   // like eventFrame, it moves with its connection: the numbers must not change
	eventFrame // not a callback: a publication that waits behind a Gap
	eventRecovered
)

// event is a callback to be made.
type event struct {
	kind eventKind
	op   ws.Opcode
	data []byte     // eventMessage, eventResume; eventGap: count (uvarint), topic; eventFrame: the frame; eventRecovered
	end  *ending    // eventClose
	held *heldTopic // eventFrame
}

// dispatch makes a callback: directly if the route is inline, otherwise after the earlier ones of the connection. On
// the loop.
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

// apart runs f on a goroutine of its own and waits for its end. It is for callbacks in the middle of a loop over
// connections: a callback that ends its goroutine then does not end that loop.
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

// call makes a callback. A panic or runtime.Goexit ends the connection, but not the process or the loop.
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
		c.sendHeld(ev)
	case eventRecovered:
		c.recovered(ev.data)
	case eventResume:
		if err := h.Resume(c, ev.data); err != nil {
			c.eng.clientLog(slog.LevelError, "connection cannot resume",
				slog.GroupAttrs("", append(c.attrs(), slog.Any("error", err))...))
			_ = c.Close(ws.CloseServiceRestart, "the connection could not be moved")
		}
	}
	returned = true
}

// rescue closes c if its callback did not return.
func (c *Conn) rescue(returned *bool) {
	if *returned {
		return
	}
	p := recover()
	c.eng.Panicked("callback", p, c.attrs()...)
	_ = c.Close(ws.CloseInternalError, "internal error")
	if p == nil && c.route.Inline && !c.eng.moving {
		c.cutOff()
	}
}

// cutOff cleans up after a callback that ended the loop's goroutine: the rest of what was read is lost, and further
// input is discarded. On the loop.
func (c *Conn) cutOff() {
	if c.gone() {
		return
	}
	c.loopBits |= bitSwallow | bitFailed
	c.loopBits &^= bitPaused | bitReadPending
	c.eng.loop.Again(c.key, reactor.Readable)
}

// Panicked counts a panic of the application and logs it with its stack. p is nil for runtime.Goexit. Call it in the
// deferred function that noticed the panic. attrs name the client. It is safe for concurrent use.
func (e *Engine) Panicked(where string, p any, attrs ...slog.Attr) {
	if p == nil {
		p = "runtime.Goexit was called"
	}
	e.count.panics.Add(1)
	if e.cfg.MayLogFault == nil || e.cfg.MayLogFault() {
		attrs = append(attrs, slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
		e.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "panic in "+where, attrs...)
	}
}

// attrs returns what a log line tells of c, which is open.
func (c *Conn) attrs() []slog.Attr {
	if d := c.eng.cfg.Describe; d != nil {
		if attrs := d(c, c.route.Path); attrs != nil {
			return attrs
		}
	}
	return []slog.Attr{
		slog.String("conn", fmt.Sprintf("%016x", c.id)), slog.String("remote", c.Peer()), slog.String("path", c.route.Path),
	}
}

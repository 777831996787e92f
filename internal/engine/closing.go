package engine

import (
	"time"

	"github.com/expedite-go/expedite/ws"
)

// refuseLinger is how long a refused client may take to read the answer before its socket is closed.
const refuseLinger = 2 * time.Second

// ending is why a connection ends. The first one counts.
type ending struct {
	code   ws.CloseCode
	reason string

	// What Conn.Marks needs: the length of our close frame, once it is queued; bytes that were dropped because of the end;
	// and marks.total when it began.
	frame, lost int
	at          uint64
}

// Close starts the closing handshake. With a code of 0 or ws.CloseNoStatus, the close frame is empty. Close returns
// ErrClosed if c is closed or closing, ErrMoved if it has moved, and the errors of ws.CheckClose. It is safe for
// concurrent use.
func (c *Conn) Close(code ws.CloseCode, reason string) error {
	if err := ws.CheckClose(code, reason); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.phase.Load() {
	case phaseOpen:
	case phaseAway:
		return ErrMoved
	default:
		return ErrClosed
	}
	c.closeLocked(ending{code: code, reason: reason}, reason)
	return nil
}

// beginClose is Close for the loop. end is passed to the Close callback, and reason is sent to the peer.
func (c *Conn) beginClose(end ending, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.Load() == phaseOpen && c.end == nil {
		c.closeLocked(end, reason)
	}
}

// part starts the end of c that its peer has caused, by a close frame, its FIN or a broken rule. Messages that arrived
// before are handled and answered first: c stays open with its end set while callbacks wait or run, for at most the
// close timeout. On the loop, with bitSwallow set.
func (c *Conn) part(end ending) {
	c.mu.Lock()
	if c.phase.Load() != phaseOpen || c.end != nil {
		c.mu.Unlock()
		return
	}
	c.end = &end
	waits := c.box != nil
	if !waits {
		c.finishPart()
	}
	c.mu.Unlock()
	if waits {
		c.lastPing = c.eng.loop.Now()
		c.schedule()
	}
}

// parting reports whether c is open only until its callbacks have returned. On the loop.
func (c *Conn) parting() bool { return c.loopBits&bitSwallow != 0 && c.phase.Load() == phaseOpen }

// finishPart completes what part started. On the loop, with c.mu held.
func (c *Conn) finishPart() {
	switch {
	case c.end.code == ws.CloseAbnormal: // the peer sends no more frames and expects none
		c.phase.Store(phaseClosing)
		c.end.at = c.eng.marks.total.Load()
		c.endContext(ErrClosed)
		c.markDirty()
	case c.loopBits&bitPeerClosed != 0:
		c.queueClose(*c.end, "")
	default:
		c.queueClose(*c.end, c.end.reason)
	}
}

// closeLocked closes c on behalf of the server. c.mu must be held.
func (c *Conn) closeLocked(end ending, reason string) {
	c.bits |= bitOver
	c.queueClose(end, reason)
}

// queueClose queues the close frame, which is the last frame of this side. RFC 6455 §5.5.1. c.mu must be held.
func (c *Conn) queueClose(end ending, reason string) {
	c.phase.Store(phaseClosing)
	c.endContext(ErrClosed)
	c.end = &end
	frame, err := ws.AppendClose(nil, end.code, reason)
	if err != nil { // only for the engine's own reasons: those of the application were checked
		frame, _ = ws.AppendClose(nil, end.code, "")
	}
	c.end.frame, c.end.at = len(frame), c.eng.marks.total.Load()
	c.outbox().addPinned(frame)
	c.eng.count.queued(len(frame))
	c.markDirty()
}

// settleLimit returns the maximum duration of the end.
func (c *Conn) settleLimit() time.Duration {
	if c.route != nil {
		return c.route.CloseTimeout
	}
	return refuseLinger
}

// settle advances the end of a connection after a write. On the loop.
func (c *Conn) settle(empty bool) {
	if c.loopBits&bitSettling == 0 {
		c.loopBits |= bitSettling
		c.lastPing = c.eng.loop.Now()
		c.eng.loop.SetDeadline(c.key, c.lastPing+int64(c.settleLimit()))
		c.releaseInput()
		if r := c.route; r != nil {
			c.dropInput() // nobody needs the rest
			if r.Leaves != nil && c.end != nil && c.end.code == r.Replaced {
				r.Leaves(c, c.Marks())
			}
		}
	}
	if c.eng.limiter != nil {
		c.settleLimited()
	}
	if !empty {
		return
	}
	switch {
	case c.loopBits&(bitPeerClosed|bitHangup) != 0:
		// RFC 6455 §7.1.1: the server closes the TCP connection first.
		c.eng.teardown(c)
	case c.loopBits&(bitFailed|bitShut) == bitFailed:
		// Closing a socket with unread bytes would reset the connection and lose our last frame. Shut down our side
		// instead, and discard input until the peer ends too.
		c.loopBits |= bitShut
		if err := c.sock.CloseWrite(); err != nil {
			c.eng.teardown(c)
		}
	}
}

// lose ends a connection whose socket could not be attached.
func (e *Engine) lose(c *Conn) {
	c.mu.Lock()
	c.phase.Store(phaseClosed)
	c.endContext(ErrClosed)
	c.mu.Unlock()
	c.dropInput()
	c.dropWindows()
	c.leave()
	delete(e.meters, c)
	if c.id == 0 {
		c.tally().Add(-1)
		return
	}
	e.idsMu.Lock()
	delete(e.ids, c.id)
	e.idsMu.Unlock()
	e.count.closed(ws.CloseAbnormal)
	c.dispatch(event{kind: eventClose, end: &ending{code: ws.CloseAbnormal}})
}

package engine

import (
	"time"

	"github.com/expedite-go/expedite/ws"
)

// refuseLinger is how long a refused client may take to read its answer before the socket is closed under it.
const refuseLinger = 2 * time.Second

// ending is why a connection ends. The first reason stands.
type ending struct {
	code   ws.CloseCode
	reason string
}

// Close starts the closing handshake. A code of 0 or ws.CloseNoStatus sends none. It fails with ErrClosed if c is
// closed or closing, with ErrMoved, and with the errors of ws.CheckClose. Any goroutine.
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

// beginClose is Close for the loop: end is what the Close callback will hear, say what the peer is told.
func (c *Conn) beginClose(end ending, say string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.Load() == phaseOpen && c.end == nil {
		c.closeLocked(end, say)
	}
}

// part begins the end of c that its peer has brought about, by a close frame, its FIN or a broken rule. What the peer
// had sent before is handled, and answered, first: for at most the close timeout c stays open, with its end set, while
// callbacks wait or run. On the loop, with bitSwallow set.
func (c *Conn) part(end ending) {
	c.mu.Lock()
	if c.phase.Load() != phaseOpen || c.end != nil {
		c.mu.Unlock()
		return
	}
	c.end = &end
	waits := c.box != nil
	if !waits {
		c.sayEnd()
	}
	c.mu.Unlock()
	if waits {
		c.lastPing = c.eng.loop.Now()
		c.schedule()
	}
}

// parting reports whether c is open only until its callbacks have been made. On the loop.
func (c *Conn) parting() bool { return c.loopBits&bitSwallow != 0 && c.phase.Load() == phaseOpen }

// sayEnd ends what part began. On the loop, with c.mu held.
func (c *Conn) sayEnd() {
	switch {
	case c.end.code == ws.CloseAbnormal: // the peer sends no more frames, and expects none
		c.phase.Store(phaseClosing)
		c.markDirty()
	case c.loopBits&bitPeerClosed != 0:
		c.sayClose(*c.end, "")
	default:
		c.sayClose(*c.end, c.end.reason)
	}
}

// closeLocked is a close of the server's own. With c.mu held.
func (c *Conn) closeLocked(end ending, say string) {
	c.bits |= bitOver
	c.sayClose(end, say)
}

// sayClose queues the close frame, the last frame of this side. RFC 6455 §5.5.1. With c.mu held.
func (c *Conn) sayClose(end ending, say string) {
	c.phase.Store(phaseClosing)
	c.end = &end
	frame, err := ws.AppendClose(nil, end.code, say)
	if err != nil { // what the application may send was checked: this is the engine's own report of a rule
		frame, _ = ws.AppendClose(nil, end.code, "")
	}
	c.outbox().addPinned(frame)
	c.eng.count.queued(len(frame))
	c.markDirty()
}

// settleLimit is how long the end may take.
func (c *Conn) settleLimit() time.Duration {
	if c.route != nil {
		return c.route.CloseTimeout
	}
	return refuseLinger
}

// settle moves an ending connection on, after what could be written was written. On the loop.
func (c *Conn) settle(empty bool) {
	if c.loopBits&bitSettling == 0 {
		c.loopBits |= bitSettling
		c.lastPing = c.eng.loop.Now()
		c.eng.loop.SetDeadline(c.key, c.lastPing+int64(c.settleLimit()))
		c.releaseInput()
		if c.route != nil {
			c.dropInput() // nobody waits for the rest
		}
	}
	if c.eng.pace != nil {
		c.settlePaced()
	}
	if !empty {
		return
	}
	switch {
	case c.loopBits&(bitPeerClosed|bitHangup) != 0:
		// RFC 6455 §7.1.1: the server closes the TCP connection first.
		c.eng.teardown(c)
	case c.loopBits&(bitFailed|bitShut) == bitFailed:
		// Closing over unread bytes would reset the connection and lose our last word: shut our side, and swallow
		// until the peer ends too.
		c.loopBits |= bitShut
		if err := c.sock.CloseWrite(); err != nil {
			c.eng.teardown(c)
		}
	}
}

package engine

import (
	"errors"
	"io"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// read reads the socket until it is empty, but at most one buffer per turn, so that a busy peer does not starve the
// others.
func (c *Conn) read(hangup bool) {
	e := c.eng
	if hangup {
		c.loopBits |= bitHangup
	}
	if c.loopBits&bitsUnread != 0 {
		c.loopBits |= bitReadPending
		return
	}
	for {
		buf, reserved := e.loop.Buffer(), 0
		switch {
		case c.route == nil: // little can come behind the head before the route's limits apply
			buf = buf[:min(len(buf), e.cfg.MaxHead)]
		case c.agreed != 0:
			if c.waitsForShare() {
				return
			}
			buf = c.packed(buf)
		}
		if c.loopBits&bitMetered != 0 && c.route.OverRate == RateWait {
			if c.mustWait() {
				return
			}
			buf = buf[:min(len(buf), waitRead)]
		}
		if e.limiter != nil {
			if buf, reserved = c.mayRead(buf); len(buf) == 0 {
				return
			}
		}
		n, err := c.sock.Read(buf)
		if !c.survives() {
			return
		}
		if e.limiter != nil {
			c.hasRead(reserved, n)
		}
		if n > 0 {
			e.count.bytesIn.Add(uint64(n))
			c.lastRead = e.loop.Now()
			if c.loopBits&bitSwallow == 0 {
				c.feed(buf[:n])
				c.flush(false) // send the output of the callbacks now, while it is in the cache
			}
			if c.gone() || c.loopBits&bitPaused != 0 {
				c.loopBits |= bitReadPending
				return
			}
		}
		switch {
		case err == nil && n == len(buf):
			e.loop.Again(c.key, reactor.Readable)
			return
		case err == nil && c.loopBits&bitHangup == 0:
			return // a short read emptied the socket; the next byte is a new edge
		case err == nil:
			continue // the peer has shut down its side: read to the end
		case errors.Is(err, reactor.ErrAgain):
			return
		case errors.Is(err, io.EOF):
			c.ended()
			return
		default:
			c.broke(err)
			return
		}
	}
}

// survives enforces the limit of incomplete input if c holds a part of a TLS record. It reports false if c had to go.
func (c *Conn) survives() bool {
	if c.sock.Holds() {
		c.eng.boundPartials()
	}
	return !c.gone()
}

// ended handles the peer's FIN. The peer may still read: its earlier messages are answered, and queued output is
// written.
func (c *Conn) ended() {
	if c.phase.Load() < phaseRefused {
		c.eng.teardown(c)
		return
	}
	c.loopBits |= bitHangup | bitSwallow
	c.part(ending{code: ws.CloseAbnormal})
	c.flush(false)
}

// gone reports whether c was torn down while its bytes were handled. On the loop.
func (c *Conn) gone() bool { return c.eng.conn(c.key) != c }

// feed passes bytes to the handshake or to the frame parser.
func (c *Conn) feed(b []byte) {
	if c.route == nil {
		c.feedHead(b)
		return
	}
	c.feedFrames(b)
}

// feedFrames turns bytes into callbacks.
func (c *Conn) feedFrames(b []byte) {
	var text, binary uint64
	rules := &c.route.Reader
	if c.agreed != 0 {
		rules = &c.route.deflated
	}
	m := c.rated()
	for len(b) > 0 {
		ev, rest, err := c.reader.Next(b, rules)
		b = rest
		if err != nil {
			c.protocolError(err)
			break
		}
		switch ev.Kind {
		case ws.KindData:
			if c.phase.Load() != phaseOpen {
				continue // after our close frame only the peer's close frame counts
			}
			if m != nil && !c.takesPiece(m, ev.First) {
				continue
			}
			switch {
			case !ev.Last, m != nil && m.skipping:
			case c.opcode(&ev) == ws.OpText:
				text++
			default:
				binary++
			}
			c.deliver(&ev)
		case ws.KindPing:
			if m == nil || c.event(m) {
				c.control(ws.OpPong, ev.Data)
			}
		case ws.KindPong:
			if m != nil {
				c.event(m)
			}
		case ws.KindClose:
			c.peerClosed(ev.Code, string(ev.Data))
		}
		if c.loopBits&bitSwallow != 0 {
			break
		}
	}
	c.eng.count.received(text, binary)
}

// opcode returns the opcode of the message that ev is a piece of.
func (c *Conn) opcode(ev *ws.Event) ws.Opcode {
	if c.in != nil {
		return c.in.op
	}
	return ev.Opcode
}

// deliver dispatches a complete message, and collects the pieces of one that arrives in several.
func (c *Conn) deliver(ev *ws.Event) {
	if ev.First && ev.Last {
		c.complete(ev, ev.Opcode, ev.Data)
		return
	}
	if c.in == nil {
		c.newInbound()
		c.in.op = ev.Opcode
	}
	c.keep(ev.Data)
	if !ev.Last {
		c.eng.boundPartials()
		return
	}
	in := c.takeInput()
	c.complete(ev, in.op, in.buf)
	c.eng.release(in)
}

// complete dispatches a message whose last piece is ev.
func (c *Conn) complete(ev *ws.Event, op ws.Opcode, data []byte) {
	if ev.Compressed {
		c.inflate(op, data)
		return
	}
	if !c.drops() {
		c.dispatch(event{kind: eventMessage, op: op, data: data})
	}
}

// control answers a ping. RFC 6455 §5.5.3: a pong carries the payload of the ping. While the peer does not read,
// further pongs are dropped: it is enough to answer the latest ping. While a rate limit delays output, one pong is
// queued at a time.
func (c *Conn) control(op ws.Opcode, payload []byte) {
	if c.blocked.Load() && (c.eng.limiter == nil || !c.eng.limiter.pong(c.key.Index)) {
		c.eng.count.limit(limitPongs)
		return
	}
	c.sendControl(op, payload)
}

// peerClosed answers the peer's close frame. RFC 6455 §5.5.1: the answer echoes the code.
func (c *Conn) peerClosed(code ws.CloseCode, reason string) {
	c.loopBits |= bitPeerClosed | bitSwallow
	c.part(ending{code: code, reason: reason})
}

// protocolError fails the connection. RFC 6455 §7.1.7: send a close frame that names the rule, then close the socket.
// Further input is discarded first, because closing a socket with unread bytes would reset it and lose the close frame.
func (c *Conn) protocolError(err error) {
	code, reason := ws.CloseProtocolError, err.Error()
	if pe, ok := errors.AsType[*ws.ProtocolError](err); ok {
		code, reason = pe.Code, pe.Reason
	}
	switch code {
	case ws.CloseMessageTooBig:
		c.eng.count.limit(limitMessageSize)
		reason = c.tooBig(limitMessageSize)
	case ws.ClosePolicyViolation:
		c.eng.count.limit(limitFragments)
	}
	c.loopBits |= bitSwallow | bitFailed
	c.part(ending{code: code, reason: reason})
}

// resume reads c again after a pause.
func (c *Conn) resume() {
	if c.gone() || c.loopBits&bitPaused == 0 {
		return
	}
	c.readAgain(bitPaused)
	if c.loopBits&bitReadPending != 0 {
		c.loopBits &^= bitReadPending
		c.eng.loop.Again(c.key, reactor.Readable)
	}
}

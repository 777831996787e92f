package engine

import (
	"github.com/expedite-go/expedite/ws"
)

// broadcast is a message on its way to many connections. Its plain frame is encoded once, and so is the compressed one
// for each window size, when the first connection that wants it gets the message. On the loop only.
type broadcast struct {
	op      ws.Opcode // with Plain
	payload []byte    // in the plain frame
	plain   form
	short   *[deflateSizes]form // compressed, by window size; nil until one is wanted
}

// form is a frame and, unless it is short, the publication that queues refer to.
type form struct {
	frame []byte
	pub   *publication
}

// The window sizes of RFC 7692 §7.1.2: 2^8 to 2^15 bytes.
const (
	minBits      = 8
	maxBits      = 15
	deflateSizes = maxBits - minBits + 1
)

// newBroadcast encodes a message.
func (e *Engine) newBroadcast(op ws.Opcode, payload []byte) broadcast {
	frame := ws.AppendFrame(make([]byte, 0, ws.FrameLen(len(payload))), op&^Plain, payload)
	return broadcast{op: op, payload: frame[len(frame)-len(payload):], plain: e.newForm(frame)}
}

func (e *Engine) newForm(frame []byte) form { return form{frame: frame, pub: e.newPublication(frame)} }

// formFor returns the frame for c: the compressed one if c wants that and it is shorter than the plain one. The message
// stands alone in it, so that connections with and without context takeover can share it.
func (m *broadcast) formFor(c *Conn) (f form, compressed bool) {
	if !c.compresses(m.op, len(m.payload)) {
		return m.plain, false
	}
	if m.short == nil {
		m.short = new([deflateSizes]form)
	}
	bits := c.agreed.bits()
	for bits > minBits && len(m.payload) <= 1<<(bits-1) { // a smaller window holds the whole message too
		bits--
	}
	slot := &m.short[bits-minBits]
	if slot.frame == nil {
		*slot = c.eng.shortForm(m, bits)
	}
	return *slot, len(slot.frame) < len(m.plain.frame)
}

// shortForm compresses a message for a window size. If that does not make it shorter, it returns the plain form.
func (e *Engine) shortForm(m *broadcast, bits uint8) form {
	scratch := e.scratch.Get().(*[]byte)
	defer e.putScratch(scratch)
	short := e.compress(scratch, m.payload, nil, bits)
	if short == nil {
		return m.plain
	}
	return e.newForm(ws.AppendFrame(make([]byte, 0, ws.FrameLen(len(short))), m.op|rsv1, short))
}

// sendBroadcast queues m, now: see Engine.sendPublication.
func (c *Conn) sendBroadcast(m *broadcast) Result {
	if c.agreed == 0 {
		return c.sendForm(m, m.plain, false)
	}
	if c.phase.Load() != phaseOpen {
		return c.refusal()
	}
	f, compressed := m.formFor(c)
	return c.sendForm(m, f, compressed)
}

func (c *Conn) sendForm(m *broadcast, f form, compressed bool) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admit(len(f.frame)) {
		return c.refusal()
	}
	c.eng.count.sent(m.op)
	if compressed {
		c.sentCompressed(m.payload, len(f.frame)) // with its header
	}
	if f.pub != nil {
		c.outbox().addPublished(f.pub)
	} else {
		c.outbox().addBytes(f.frame, c.apart())
	}
	c.eng.count.queued(len(f.frame))
	return c.queued()
}

package engine

import (
	"github.com/expedite-go/expedite/ws"
)

// Plain is added to the opcode of a message that must be sent uncompressed: Conn.Send, Upgrade.Send, Engine.Publish.
const Plain ws.Opcode = 0x80

// rsv1 is the bit in the first byte of a frame, next to the opcode, that marks a compressed message. RFC 7692 §6.
const rsv1 = 0x40

// compressed reports whether the frame at the start of b is that of a compressed message.
func compressed(b []byte) bool { return b[0]&rsv1 != 0 }

const (
	// DefaultCompressAbove is the shortest message that is compressed, in bytes. See BenchmarkThreshold.
	DefaultCompressAbove = 128
	// linkedBelow is the length from which a message refers to no earlier ones, even if it may. It is then compressed
	// before the connection is locked, so that the loop waits for at most this much. A long message gains little from
	// a dictionary.
	linkedBelow = 32 << 10
)

// compresses reports whether a message to c is worth compressing.
func (c *Conn) compresses(op ws.Opcode, size int) bool {
	return c.agreed != 0 && op&Plain == 0 && c.route.CompressAbove >= 0 && size >= c.route.CompressAbove
}

// sendCompressed is Send for a message that is worth compressing.
func (c *Conn) sendCompressed(op ws.Opcode, payload []byte) Result {
	scratch := c.eng.scratch.Get().(*[]byte)
	defer c.eng.putScratch(scratch)
	if c.agreed.sendsLinked() && len(payload) < linkedBelow {
		return c.sendLinked(op, payload, scratch)
	}
	if c.phase.Load() != phaseOpen { // do not compress in vain
		return c.refusal()
	}
	sent, opcode := payload, op
	if short := c.eng.compress(scratch, payload, nil, c.agreed.bits()); short != nil {
		sent, opcode = short, op|rsv1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admit(ws.FrameLen(len(sent))) {
		return c.refusal()
	}
	if compressed := opcode != op; compressed {
		c.sentCompressed(payload, len(sent))
	}
	return c.put(opcode, sent)
}

// sendLinked compresses a message that may refer to earlier ones. It holds the lock meanwhile, because messages must be
// compressed in the order in which they are sent. For the limit of the queue, the message counts with its full length.
func (c *Conn) sendLinked(op ws.Opcode, payload []byte, scratch *[]byte) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admit(ws.FrameLen(len(payload))) {
		return c.refusal()
	}
	var dict []byte
	if w := c.windows(); w != nil && !c.apart() {
		dict = w.out.Bytes()
	}
	short := c.eng.compress(scratch, payload, dict, c.agreed.bits())
	if short == nil {
		return c.put(op, payload)
	}
	if len(dict) > 0 {
		c.outbox().linked = true
	}
	c.sentCompressed(payload, len(short))
	return c.put(op|rsv1, short)
}

// compress returns the compressed payload, in scratch, or nil if that is not shorter than the payload.
func (e *Engine) compress(scratch *[]byte, payload, dict []byte, bits uint8) []byte {
	e.count.compressions.Add(1)
	b := e.codec.Compress((*scratch)[:0], payload, dict, bits)
	*scratch = b
	if len(b) >= len(payload) {
		return nil
	}
	return b
}

// putScratch returns a buffer to the pool, if it is of a useful size.
func (e *Engine) putScratch(b *[]byte) {
	if cap(*b) <= maxKeptInbound {
		e.scratch.Put(b)
	}
}

// sentCompressed records that a compressed message joins the queue: it is now in the window of the peer. While messages
// may be dropped from the queue, no later one may refer to it: see Conn.block. c.mu must be held.
func (c *Conn) sentCompressed(payload []byte, size int) {
	c.eng.count.deflated.add(len(payload), size)
	if c.agreed.sendsLinked() && !c.apart() {
		c.windows().send(c.agreed, payload)
	}
}

// unlink makes later messages refer to none of those before. Call it before a message that was compressed may be
// dropped from the queue: the peer would not have it in its window. c.mu must be held.
func (c *Conn) unlink() {
	if w := c.windows(); w != nil {
		w.out.Reset()
	}
}

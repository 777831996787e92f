package engine

import (
	"errors"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// Result is the result of sending a message.
type Result uint8

// The results.
const (
	// Sent means that the message leaves in this turn of the loop, or has left.
	Sent Result = iota
	// Queued means that the peer reads slowly and the message waits. Drain or Close follows.
	Queued
	// Dropped means that the queue was full and the policy dropped the message.
	Dropped
	// Closed means that the connection is closed or closing, or that this message closed it (PolicyClose).
	Closed
	// Moved means that the connection is with another worker, or will be soon. The message must be sent there.
	Moved
)

// writeNow is the payload length from which a message is written directly. Shorter ones are copied and leave with the
// other output of the turn. Above this length, avoiding the copy is worth the additional write.
const writeNow = 16 << 10

// Send queues a message. It never blocks, and copies what it does not write directly. It is safe for concurrent use.
func (c *Conn) Send(op ws.Opcode, payload []byte) Result {
	if c.compresses(op, len(payload)) {
		return c.sendCompressed(op, payload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admit(ws.FrameLen(len(payload))) {
		return c.refusal()
	}
	return c.put(op&^Plain, payload)
}

// put queues a message that was admitted. With rsv1 in op, its payload is compressed. c.mu must be held.
func (c *Conn) put(op ws.Opcode, payload []byte) Result {
	c.eng.count.sent(op)
	if len(payload) >= writeNow && !c.blocked.Load() && c.eng.limiter == nil {
		c.writeThrough(op, payload)
	} else {
		before := c.outbox().size
		c.out.addFrame(op, payload, c.apart())
		c.eng.count.queued(c.out.size - before)
	}
	r := c.queued()
	if r == Queued {
		c.bits |= bitPressed // the caller waits for Drain, even below the low-water mark
	}
	return r
}

// Buffered returns the number of bytes that wait for the peer.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queueSize()
}

// sendControl queues a ping or a pong. No limit applies: the caller ensures that they cannot pile up.
func (c *Conn) sendControl(op ws.Opcode, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.Load() != phaseOpen {
		return
	}
	before := c.outbox().size
	c.addControl(op, payload)
	c.eng.count.queued(c.out.size - before)
	c.markDirty()
}

// The functions below require that c.mu is held.

func (c *Conn) queueSize() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// admit reports whether a data frame of size bytes may join the queue. If there is no room, it applies the policy.
func (c *Conn) admit(size int) bool {
	if c.phase.Load() != phaseOpen {
		return false
	}
	if c.fits(size) {
		return true
	}
	if !c.blocked.Load() || c.heldOutput() {
		// Much was sent in one turn. The peer need not be slow: nothing was written yet.
		c.makeRoom()
		if c.fits(size) {
			return c.bits&bitBroken == 0
		}
	}
	c.bits |= bitPressed
	need := c.out.size + size - c.route.QueueLimit
	if need <= 0 { // the other connections use too much
		c.eng.count.limit(limitQueued)
		need = size
	}
	switch c.route.Policy {
	case PolicyDropNewest:
		c.eng.count.limit(limitDropNewest)
		return false
	case PolicyDropOldest:
		before := c.out.size
		for range c.out.dropOldest(need) {
			c.eng.count.limit(limitDropOldest)
		}
		c.eng.count.queued(c.out.size - before)
		return true
	default:
		c.eng.count.limit(limitQueueClose)
		lost := c.discard()
		const reason = "too slow: the send queue is full"
		c.closeLocked(ending{code: ws.CloseTryAgainLater, reason: reason, lost: lost}, "too slow")
		return false
	}
}

// makeRoom writes what can be written now.
func (c *Conn) makeRoom() {
	if c.eng.limiter == nil {
		c.writeOut()
		return
	}
	c.blocked.Store(false)
	c.writeLimited(true)
	c.markDirty() // the loop knows when to continue
}

func (c *Conn) fits(size int) bool {
	return c.out == nil || c.out.size == 0 || c.out.size+size <= c.route.QueueLimit && !c.crowded()
}

// refusal returns the result for a message that was not admitted.
func (c *Conn) refusal() Result {
	switch c.phase.Load() {
	case phaseOpen:
		return Dropped
	case phaseAway:
		return Moved
	default:
		return Closed
	}
}

// queued schedules a flush of c and returns the result for the message that was just added.
func (c *Conn) queued() Result {
	if !c.blocked.Load() {
		c.markDirty()
		return Sent
	}
	if c.out.size > c.route.LowMark {
		c.bits |= bitPressed
	}
	c.eng.boundQueues()
	return Queued
}

// apart reports whether frames must stay separate, so that they can be dropped one by one.
func (c *Conn) apart() bool {
	return c.route != nil && c.route.Policy == PolicyDropOldest && c.blocked.Load()
}

func (c *Conn) outbox() *outbox {
	if c.out == nil {
		c.out = c.eng.outboxes.Get().(*outbox)
	}
	return c.out
}

// discard drops the queued data, except a frame that has begun to leave. It returns how many bytes it has dropped.
func (c *Conn) discard() (dropped int) {
	if c.out == nil {
		return 0
	}
	before := c.out.size
	c.unlink()
	c.out.split()
	c.out.dropOldest(before)
	c.eng.count.queued(c.out.size - before)
	return before - c.out.size
}

func (c *Conn) markDirty() {
	if c.bits&bitDirty == 0 {
		c.bits |= bitDirty
		c.eng.touch(c)
	}
}

// writeThrough writes the queue followed by a message, and keeps only what the socket did not take.
func (c *Conn) writeThrough(op ws.Opcode, payload []byte) {
	o, count := c.outbox(), &c.eng.count
	var head [ws.MaxHeader]byte
	header := ws.AppendHeader(head[:0], ws.Header{Fin: true, Opcode: op, Length: uint64(len(payload))})
	if len(o.chunks) > maxParts-2 {
		c.writeOut()
		if c.blocked.Load() {
			c.outbox().addFrame(op, payload, c.apart())
			count.queued(len(header) + len(payload))
			return
		}
		o = c.outbox()
	}
	waiting := o.size
	n, _, err := o.writeTo(c.sock, header, payload)
	count.wrote(n, min(n, waiting))
	if err != nil && !errors.Is(err, reactor.ErrAgain) {
		c.bits |= bitBroken
		return
	}
	rest := len(header) + len(payload) - max(n-waiting, 0)
	if rest == 0 {
		return
	}
	c.block()
	left := make([]byte, 0, rest)
	if over := rest - len(payload); over > 0 {
		left = append(left, header[len(header)-over:]...)
	}
	left = append(left, payload[max(len(payload)-rest, 0):]...)
	if rest == len(header)+len(payload) {
		o.addWhole(left)
	} else {
		o.addPinned(left)
	}
	count.queued(rest)
	c.writeOut()
}

// block records that the socket is full. Off the loop, the event that it is writable again may have come before this
// and been ignored, so the caller must try to write once more.
func (c *Conn) block() {
	c.blocked.Store(true)
	if c.route != nil && c.route.Policy == PolicyDropOldest && c.out != nil {
		c.unlink()
		c.out.split()
	}
}

// writeOut writes until the socket is full or the queue is empty.
func (c *Conn) writeOut() {
	for c.out != nil && c.out.size > 0 && c.bits&bitBroken == 0 {
		n, full, err := c.out.writeTo(c.sock)
		c.eng.count.wrote(n, n)
		if err != nil && !errors.Is(err, reactor.ErrAgain) {
			c.bits |= bitBroken
			return
		}
		if full {
			known := c.blocked.Load()
			c.block()
			if known {
				return
			}
		}
	}
	c.wroteAll()
}

// wroteAll returns the outbox to the pool if it is empty.
func (c *Conn) wroteAll() {
	if c.out != nil && c.out.size == 0 {
		c.blocked.Store(false)
		c.out.release()
		c.eng.outboxes.Put(c.out)
		c.out = nil
	}
}

// flush writes the queue and then does what was waiting for that. On the loop, without c.mu.
func (c *Conn) flush(writable bool) {
	c.mu.Lock()
	c.bits &^= bitDirty
	ph := c.phase.Load()
	if ph >= phaseClosed {
		c.mu.Unlock()
		return
	}
	if writable {
		c.blocked.Store(false)
		c.sock.Push()
	}
	if ph == phaseOpen && c.end != nil && c.box == nil {
		c.finishPart()
		ph = phaseClosing
	}
	before := c.queueSize()
	switch {
	case c.blocked.Load():
	case c.eng.limiter != nil:
		c.writeLimited(false)
	default:
		c.writeOut()
	}
	broken, empty := c.bits&bitBroken != 0, c.out == nil && !c.sock.Waits()
	after := c.queueSize()
	drained := c.bits&bitPressed != 0 && ph == phaseOpen && (empty || (after < before && after <= c.route.LowMark))
	if drained {
		c.bits &^= bitPressed
	}
	room := c.bits&bitThirsty != 0 && (empty || after < before && after <= c.route.LowMark)
	if room {
		c.bits &^= bitThirsty
	}
	c.mu.Unlock()

	if c.eng.limiter != nil {
		c.arm(ph)
	}
	switch {
	case broken:
		c.eng.count.resets.Add(1)
		c.eng.teardown(c)
	case ph == phaseRefused || ph == phaseClosing:
		c.settle(empty)
	case drained:
		c.dispatch(event{kind: eventDrain})
	}
	if room {
		c.eng.refill(c)
	}
}

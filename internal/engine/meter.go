package engine

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/ws"
)

// RatePolicy determines what happens to messages beyond Route.MessageRate.
type RatePolicy uint8

// The policies.
const (
	// RateClose closes the connection with 1008 (policy violation).
	RateClose RatePolicy = iota
	// RateDrop drops the message.
	RateDrop
	// RateWait reads the connection later. What had been read already is still handled, and counts.
	RateWait
)

// meter is the state of the limits of a connection that most routes do not have. Connections of other routes have none.
// On the loop only.
type meter struct {
	ends     int64 // ns, end of its lifetime; 0 means never
	next     int64 // of Route.messages
	skipping bool  // the message that has begun is dropped
}

const (
	// waitRead is the maximum length of a read with RateWait, so that few messages can come at once.
	waitRead = 4 << 10
	// waitPart: with RateWait the burst is at least what comes in a quarter of a second, because a wait ends up to one
	// tick of the loop late, which is 100 ms.
	waitPart = 4
	// lifetimePart is the part of Route.MaxLifetime by which lifetimes differ.
	lifetimePart = 10
)

// prepareMeter sets what the limits of r need.
func (r *Route) prepareMeter() {
	least := 0.0
	if r.OverRate == RateWait {
		least = r.MessageRate.PerSecond / waitPart
	}
	r.messages = r.MessageRate.cadence(least)
	r.publishes = r.PublishRate.cadence(0)
	r.metered = r.messages.on() || r.MaxLifetime > 0
}

// meter returns the meter of c, or nil if it has none.
func (c *Conn) meter() *meter {
	if c.loopBits&bitMetered == 0 {
		return nil
	}
	return c.eng.meters[c]
}

// rated returns the meter of c if its messages are counted, or the rest of one is dropped; else nil.
func (c *Conn) rated() *meter {
	if m := c.meter(); m != nil && (c.route.messages.on() || m.skipping) {
		return m
	}
	return nil
}

// startMeter gives c a meter if its route needs one: m, which is not zero if c has moved. The lifetimes of connections
// that have begun together end apart, so that their clients do not come back together.
func (c *Conn) startMeter(m meter) {
	if !c.route.metered && !m.skipping {
		return
	}
	switch now, life := c.eng.loop.Now(), int64(c.route.MaxLifetime); {
	case life <= 0:
		m.ends = 0
	case m.ends == 0 || m.ends > now+life: // else it has moved
		m.ends = now + life - rand.Int64N(life/lifetimePart+1)
	}
	c.loopBits |= bitMetered
	c.eng.meters[c] = &m
}

// outlived reports whether the lifetime of c is over, and when it ends; 0 means never.
func (c *Conn) outlived(now int64) (ends int64, over bool) {
	m := c.meter()
	if m == nil || m.ends == 0 {
		return 0, false
	}
	return m.ends, now >= m.ends
}

// endLife closes a connection that has reached its maximum lifetime.
func (c *Conn) endLife() {
	const why = "maximum lifetime"
	c.eng.count.limit(limitLifetime)
	c.beginClose(ending{code: ws.CloseServiceRestart, reason: why}, why)
}

// takesPiece reports whether a piece of a message is handled. A message counts when it begins. One that later messages
// may refer to is dropped when it is complete and decompressed: see drops.
func (c *Conn) takesPiece(m *meter, first bool) bool {
	if first {
		m.skipping = !c.event(m)
	}
	return (!m.skipping || c.agreed.receivesLinked()) && c.loopBits&bitSwallow == 0
}

// drops reports whether the message of c that is complete is dropped.
func (c *Conn) drops() bool {
	m := c.meter()
	return m != nil && m.skipping
}

// event counts a message, a ping or a pong, and reports whether it is handled.
func (c *Conn) event(m *meter) bool {
	k, now := c.route.messages, c.eng.loop.Now()
	switch {
	case c.phase.Load() != phaseOpen:
		return true
	case c.route.OverRate == RateWait:
		m.next = k.after(m.next, now)
		return true
	case k.take(&m.next, now):
		return true
	}
	c.eng.count.limit(limitMessageRate)
	if c.route.OverRate == RateClose {
		c.loopBits |= bitSwallow | bitFailed
		c.part(ending{code: ws.ClosePolicyViolation, reason: "too many messages"})
	}
	return false
}

// mustWait reports whether c is read later because of its message rate, and stops reading it until then.
func (c *Conn) mustWait() bool {
	m := c.meter()
	if m == nil || c.route.OverRate != RateWait || c.phase.Load() != phaseOpen || c.loopBits&bitSwallow != 0 ||
		c.route.messages.due(m.next) <= c.eng.loop.Now() {
		return false
	}
	c.eng.count.limit(limitMessageRate)
	c.stopReading(bitRated)
	c.loopBits |= bitReadPending
	c.schedule()
	return true
}

// waitDue returns when c is read again, or 0 if it does not wait for its message rate.
func (c *Conn) waitDue() int64 {
	if c.loopBits&bitRated == 0 {
		return 0
	}
	if m := c.meter(); m != nil {
		return max(c.route.messages.due(m.next), 1)
	}
	return 1
}

// endWait reads c again if its wait is over. The time in which it was not read does not count as silence of the peer.
func (c *Conn) endWait(now int64) {
	if due := c.waitDue(); due == 0 || due > now {
		return
	}
	c.readAgain(bitRated)
	c.lastRead = now
	c.eng.loop.Again(c.key, reactor.Readable)
}

// append appends the state of m, which may be nil.
func (m *meter) append(dst []byte) []byte {
	if m == nil {
		return dst
	}
	if m.ends != 0 {
		dst = record.AppendUint64(dst, tagLifetime, uint64(m.ends))
	}
	if m.next != 0 {
		dst = record.AppendUint64(dst, tagMessages, uint64(m.next))
	}
	if m.skipping {
		dst = record.AppendHeader(dst, tagSkipping, 0)
	}
	return dst
}

// MayPublish reports whether a connection may publish now by Route.PublishRate, and records that it does. next is the
// state of that limit, which belongs to the owner of c and moves with it. It is safe for concurrent use.
func (c *Conn) MayPublish(next *atomic.Int64) bool {
	k := c.route.publishes
	if !k.on() {
		return true
	}
	for now := reactor.Monotonic(); ; {
		was := next.Load()
		is := was
		if !k.take(&is, now) {
			c.eng.count.limit(limitPublishRate)
			return false
		}
		if next.CompareAndSwap(was, is) {
			return true
		}
	}
}

package engine

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// publication is a frame in the queues of many connections. It is in memory once, but counters.queuedBytes counts it
// once per queue; counters.again has the excess.
type publication struct {
	frame   []byte
	holders atomic.Int64
	again   *atomic.Int64
}

// newPublication returns nil for a short frame, of which each queue gets a copy.
func (e *Engine) newPublication(frame []byte) *publication {
	if len(frame) < sharedFrom {
		return nil
	}
	return &publication{frame: frame, again: &e.count.again}
}

// hold records that another queue holds the frame.
func (p *publication) hold() {
	if p.holders.Add(1) > 1 {
		p.again.Add(int64(len(p.frame)))
	}
}

// let records that a queue no longer holds the whole frame. p may be nil.
func (p *publication) let() {
	if p != nil && p.holders.Add(-1) > 0 {
		p.again.Add(-int64(len(p.frame)))
	}
}

// weight returns how many bytes would be freed without o. A frame that n queues hold counts for an n-th.
func (o *outbox) weight() (n int) {
	n = o.size
	for _, ch := range o.chunks {
		if ch.pub != nil {
			n -= len(ch.buf) - len(ch.buf)/int(max(ch.pub.holders.Load(), 1))
		}
	}
	return n
}

// queuedBytes returns the memory of all queues, and of what was sealed and waits for its socket.
func (e *Engine) queuedBytes() int64 {
	_, sealed := e.sealed()
	return e.count.queuedBytes.Load() - e.count.again.Load() + sealed
}

// shedPause is the time between two searches for the largest queues if the first one did not find enough.
const shedPause = int64(100 * time.Millisecond)

// crowded reports whether c, whose queue is not small, must not queue more because of the other connections. c.mu must
// be held.
func (c *Conn) crowded() bool {
	limit := c.eng.cfg.MaxQueued
	return c.out.size >= sheddable && limit > 0 && c.eng.queuedBytes() > limit+limit/8
}

// boundQueues schedules the enforcement of Config.MaxQueued on the loop. It is safe for concurrent use.
func (e *Engine) boundQueues() {
	if limit := e.cfg.MaxQueued; limit <= 0 || e.queuedBytes() <= limit || !e.bounding.CompareAndSwap(false, true) {
		return
	}
	e.Post(func() {
		e.bounding.Store(false)
		limit, now := e.cfg.MaxQueued, e.loop.Now()
		over := e.queuedBytes() - limit
		if over <= 0 || now < e.nextBound {
			return
		}
		freed := e.shedSealed(sealedShare(leavingRecords.held(e), over+limit/8, limit), limitQueued, leavingRecords)
		if freed += e.shedQueues(over+limit/8-freed, 1, limitQueued); freed < over {
			e.nextBound = now + shedPause
		}
	})
}

// heavy is a connection and the bytes that it holds.
type heavy struct {
	conn   *Conn
	weight int
}

// shedQueues empties the largest queues of peers that do not read, down to least bytes, until need bytes are freed. It
// returns how many were. On the loop.
func (e *Engine) shedQueues(need int64, least int, why limit) (freed int64) {
	var largest []heavy
	for _, c := range e.conns {
		if c == nil || !c.blocked.Load() {
			continue
		}
		c.mu.Lock()
		if c.out != nil && c.route != nil {
			if n := c.out.weight(); n >= least {
				largest = append(largest, heavy{c, n})
			}
		}
		c.mu.Unlock()
	}
	slices.SortFunc(largest, func(a, b heavy) int { return cmp.Compare(b.weight, a.weight) })
	for _, h := range largest {
		if freed >= need {
			break
		}
		freed += int64(h.weight)
		h.conn.giveUpQueue(why)
	}
	return freed
}

// giveUpQueue drops the output of c, and closes c if its policy is PolicyClose.
func (c *Conn) giveUpQueue(why limit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eng.count.limit(why)
	c.bits |= bitPressed
	lost := c.discard()
	if c.phase.Load() == phaseOpen && c.route.Policy == PolicyClose {
		const reason = "too slow: all send queues are too long"
		c.closeLocked(ending{code: ws.CloseTryAgainLater, reason: reason, lost: lost}, "too slow")
	}
}

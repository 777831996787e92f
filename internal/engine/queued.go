package engine

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// publication is a frame that the queues of many connections hold. It is in memory once, and counts.queuedBytes has it
// as often as it is held: what is too much of that is in counters.again.
type publication struct {
	frame   []byte
	holders atomic.Int64
	again   *atomic.Int64
}

// newPublication is nil for a frame so short that each queue has a copy.
func (e *Engine) newPublication(frame []byte) *publication {
	if len(frame) < sharedFrom {
		return nil
	}
	return &publication{frame: frame, again: &e.count.again}
}

// hold notes that one more queue has the frame.
func (p *publication) hold() {
	if p.holders.Add(1) > 1 {
		p.again.Add(int64(len(p.frame)))
	}
}

// let notes that one queue less has the frame, as a whole. p may be nil.
func (p *publication) let() {
	if p != nil && p.holders.Add(-1) > 0 {
		p.again.Add(-int64(len(p.frame)))
	}
}

// weight is what would be free without o: its part of the frames that others hold, too.
func (o *outbox) weight() (n int) {
	n = o.size
	for _, ch := range o.chunks {
		if ch.pub != nil {
			n -= len(ch.buf) - len(ch.buf)/int(max(ch.pub.holders.Load(), 1))
		}
	}
	return n
}

// queuedBytes is what all queues hold.
func (e *Engine) queuedBytes() int64 { return e.count.queuedBytes.Load() - e.count.again.Load() }

// shedPause is the time between two searches for the largest queues if the first has not found enough.
const shedPause = int64(100 * time.Millisecond)

// crowded says that c, whose queue is not small, must not queue more because of all the others. With c.mu held.
func (c *Conn) crowded() bool {
	limit := c.eng.cfg.MaxQueued
	return c.out.size >= sheddable && limit > 0 && c.eng.queuedBytes() > limit+limit/8
}

// boundQueues enforces Config.MaxQueued, on the loop and soon. Any goroutine.
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
		if e.shedQueues(over+limit/8, 1, limitQueued) < over {
			e.nextBound = now + shedPause
		}
	})
}

// heavy is a connection with a queue, and how much that holds.
type heavy struct {
	conn   *Conn
	weight int
}

// shedQueues gives up the largest queues of peers that do not read, down to least bytes, until need bytes are free. It
// returns how many are. On the loop.
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

// giveUpQueue drops what waits, and closes c unless its policy is to drop messages.
func (c *Conn) giveUpQueue(why limit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eng.count.limit(why)
	c.bits |= bitPressed
	c.discard()
	if c.phase.Load() == phaseOpen && c.route.Policy == PolicyClose {
		c.closeLocked(ending{code: ws.CloseTryAgainLater, reason: "too slow: all send queues are too long"}, "too slow")
	}
}

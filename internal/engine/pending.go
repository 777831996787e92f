package engine

import (
	"cmp"
	"slices"

	"github.com/expedite-go/expedite/ws"
)

// weigh updates the total of what waits for callbacks or is in one. Mailboxes that hold little do not count. c.mu must
// be held.
func (e *Engine) weigh(m *mailbox) {
	n := len(m.waiting.arena) + len(m.running.arena)
	if n < sheddable {
		n = 0
	}
	if n != m.held {
		e.count.pending.Add(int64(n - m.held))
		m.held = n
	}
}

// unweigh removes m, which may be nil and is no longer used, from the total.
func (e *Engine) unweigh(m *mailbox) {
	if m != nil {
		e.count.pending.Add(-int64(m.held))
		m.held = 0
	}
}

// fills reports whether c must not be read until its callbacks have caught up with b. While all mailboxes together hold
// half of their limit, any mailbox that is not small is full. c.mu must be held.
func (c *Conn) fills(b *batch) bool {
	limit := c.route.MailboxLimit
	if most := c.eng.cfg.MaxPending; most > 0 && c.eng.count.pending.Load() > most/2 {
		limit = min(limit, sheddable)
	}
	return len(b.arena) >= limit || len(b.events) >= maxEvents
}

// takes enforces Config.MaxPending before a message of n bytes joins the mailbox of c. It drops what the largest
// mailboxes have not started to handle and, if that is not enough, the message and its connection. A small mailbox
// always takes a small message. On the loop.
func (e *Engine) takes(c *Conn, n int) bool {
	limit := e.cfg.MaxPending
	over := e.count.pending.Load() + int64(n) - limit
	if limit <= 0 || over <= 0 {
		return true
	}
	c.mu.Lock()
	small := n < sheddable && (c.box == nil || c.box.held == 0)
	c.mu.Unlock()
	if small {
		return true
	}
	if now := e.loop.Now(); now >= e.nextPending {
		if e.shedPending(over+limit/8, sheddable, limitPending) < over {
			e.nextPending = now + shedPause
		}
	}
	if c.phase.Load() == phaseOpen && e.count.pending.Load()+int64(n) > limit {
		e.count.limit(limitPending)
		c.giveUpPending()
	}
	return c.phase.Load() == phaseOpen
}

// shedPending closes the connections with the largest mailboxes of at least least bytes, until need bytes are freed. It
// returns how many were. What callbacks are about to handle is freed when they return. On the loop.
func (e *Engine) shedPending(need int64, least int, why limit) (freed int64) {
	var largest []heavy
	for _, c := range e.conns {
		if c == nil || c.phase.Load() != phaseOpen {
			continue
		}
		c.mu.Lock()
		if c.box != nil && len(c.box.waiting.arena) >= least {
			largest = append(largest, heavy{c, c.box.held})
		}
		c.mu.Unlock()
	}
	slices.SortFunc(largest, func(a, b heavy) int { return cmp.Compare(b.weight, a.weight) })
	for _, h := range largest {
		if freed >= need {
			break
		}
		freed += h.conn.giveUpPending()
		e.count.limit(why)
	}
	return freed
}

// giveUpPending closes c and drops the messages that wait for a callback. On the loop.
func (c *Conn) giveUpPending() (freed int64) {
	c.loopBits |= bitSwallow | bitFailed
	const why = "no memory for the waiting messages"
	c.beginClose(ending{code: ws.CloseTryAgainLater, reason: why}, why)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == nil {
		return 0
	}
	before := c.box.held
	c.box.waiting.drop(eventMessage)
	c.eng.weigh(c.box)
	return int64(before - c.box.held)
}

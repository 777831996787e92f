package engine

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// inbound holds incomplete input: a request head, a message in pieces, or bytes that wait for a decision. It exists
// only while there is some.
type inbound struct {
	buf   []byte
	op    ws.Opcode
	index int // in partials.conns
	period
}

// maxKeptInbound is the maximum size of the buffers that the pool keeps.
const maxKeptInbound = 64 << 10

// partials lists the connections with an inbound and the sum of their bytes. A message that arrives whole in one read
// never has one. On the loop only, except that any goroutine may read the sum.
type partials struct {
	conns []*Conn
	bytes atomic.Int64
	judge *reactor.Alarm // see Engine.judge; nil without Config.MessageMinRate
	armed bool           // judge is scheduled
}

// sheddable is the minimum size that is worth closing a connection for when memory is short.
const sheddable = 16 << 10

// newInbound gives c an inbound.
func (c *Conn) newInbound() {
	p := &c.eng.partials
	c.in = c.eng.inbounds.Get().(*inbound)
	c.in.index = len(p.conns)
	p.conns = append(p.conns, c)
	c.in.since = c.eng.loop.Now()
	if c.loopBits&bitsUnread != 0 {
		c.in.stopped = c.in.since
	}
	if !p.armed && p.judge != nil {
		c.eng.armJudge()
	}
}

// keep appends bytes to the incomplete input.
func (c *Conn) keep(b []byte) {
	if c.in == nil {
		c.newInbound()
		c.eng.line(c)
	}
	c.in.buf = append(c.in.buf, b...)
	c.in.got += len(b)
	c.eng.partials.bytes.Add(int64(len(b)))
}

// takeInput detaches c.in, which may be nil, and returns it.
func (c *Conn) takeInput() *inbound {
	in, p := c.in, &c.eng.partials
	if in == nil {
		return nil
	}
	c.in = nil
	p.bytes.Add(-int64(len(in.buf)))
	last := p.conns[len(p.conns)-1]
	p.conns[in.index] = last
	if last != c {
		last.in.index = in.index
	}
	p.conns[len(p.conns)-1] = nil
	p.conns = p.conns[:len(p.conns)-1]
	return in
}

// dropInput drops the incomplete input.
func (c *Conn) dropInput() { c.eng.release(c.takeInput()) }

// release returns in, which may be nil, to the pool.
func (e *Engine) release(in *inbound) {
	if in == nil {
		return
	}
	buf := in.buf[:0]
	if cap(buf) > maxKeptInbound {
		buf = nil
	}
	*in = inbound{buf: buf}
	e.inbounds.Put(in)
}

// boundPartials enforces Config.MaxPartial. It frees an eighth of the limit more than necessary, so that it need not
// search the connections for every new message. It may end any connection, including that of the caller.
func (e *Engine) boundPartials() {
	limit := e.cfg.MaxPartial
	sealed := arrivingRecords.held(e)
	if over := e.partials.bytes.Load() + sealed - limit; limit > 0 && over > 0 {
		need := over + limit/8
		need -= e.shedSealed(sealedShare(sealed, need, limit), limitPartial, arrivingRecords)
		if need -= e.shedPartials(need, 1, limitPartial); need > limit/8 {
			e.shedSealed(need, limitPartial, arrivingRecords)
		}
	}
}

// shedPartials ends the connections with the largest incomplete messages of at least least bytes, until need bytes are
// freed. It returns how many were.
func (e *Engine) shedPartials(need int64, least int, why limit) (freed int64) {
	largest := make([]*Conn, 0, len(e.partials.conns))
	for _, c := range e.partials.conns {
		if len(c.in.buf) >= least && c.phase.Load() != phaseAway {
			largest = append(largest, c)
		}
	}
	slices.SortFunc(largest, func(a, b *Conn) int { return cmp.Compare(len(b.in.buf), len(a.in.buf)) })
	for _, c := range largest {
		if freed >= need {
			break
		}
		freed += int64(len(c.in.buf))
		c.refuseInput(ws.CloseTryAgainLater, "no memory for the rest of this message")
		e.count.limit(why)
	}
	return freed
}

// refuseInput ends c because of its incomplete input and drops that. Further input is discarded.
func (c *Conn) refuseInput(code ws.CloseCode, reason string) {
	switch c.phase.Load() {
	case phaseHead, phaseDecide:
		c.refuse(unavailable("not enough memory", "5"))
	case phaseOpen:
		c.loopBits |= bitSwallow | bitFailed
		c.beginClose(ending{code: code, reason: reason}, reason)
	}
	c.dropInput()
}

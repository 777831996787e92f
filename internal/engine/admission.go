package engine

import (
	"net/netip"
	"sync"

	"github.com/expedite-go/expedite/internal/reactor"
)

// socketQueues are the sockets that are no WebSockets yet, in queues by what may be lost when one is closed to
// make room for a new one. On the loop only.
type socketQueues struct {
	silent  socketQueue // accepted, and not a byte has come
	refused socketQueue // refused, and the answer is on its way
	heads   socketQueue // part of a request head has come
	kept    socketQueue // kept alive after an HTTP request: these are closed for other HTTP requests only
}

// socketQueue lists sockets, oldest first. One that has gone on stays in the list until it is passed over.
type socketQueue struct {
	keys  []reactor.Key
	first int // the ones before have been passed over
}

// push appends a socket. When the list has doubled, those that have gone on are taken out.
func (q *socketQueue) push(k reactor.Key, stays func(reactor.Key) bool) {
	if len(q.keys) == cap(q.keys) && q.first+len(q.keys) > 0 {
		kept := q.keys[:0]
		for _, k := range q.keys[q.first:] {
			if stays(k) {
				kept = append(kept, k)
			}
		}
		q.keys, q.first = kept, 0
		if len(kept) > cap(kept)/2 {
			q.keys = append(make([]reactor.Key, 0, 2*cap(kept)), kept...)
		}
	}
	q.keys = append(q.keys, k)
}

// pop takes out the oldest socket that has not gone on.
func (q *socketQueue) pop(stays func(reactor.Key) bool) (k reactor.Key, ok bool) {
	for q.first < len(q.keys) {
		k = q.keys[q.first]
		q.first++
		if stays(k) {
			return k, true
		}
	}
	q.keys, q.first = q.keys[:0], 0
	return reactor.Key{}, false
}

func (e *Engine) isSilent(k reactor.Key) bool {
	c := e.conn(k)
	return c != nil && c.phase.Load() == phaseHead && c.in == nil
}

func (e *Engine) isRefused(k reactor.Key) bool {
	c := e.conn(k)
	return c != nil && c.phase.Load() == phaseRefused
}

func (e *Engine) isHead(k reactor.Key) bool {
	c := e.conn(k)
	return c != nil && c.phase.Load() == phaseHead && c.in != nil
}

// line puts c, which is no WebSocket yet, into the queue that fits.
func (e *Engine) line(c *Conn) {
	switch {
	case c.phase.Load() == phaseRefused:
		e.queues.refused.push(c.key, e.isRefused)
	case c.phase.Load() != phaseHead:
	case c.loopBits&bitKept != 0:
		e.queues.kept.push(c.key, e.isKept)
	case c.in == nil:
		e.queues.silent.push(c.key, e.isSilent)
	default:
		e.queues.heads.push(c.key, e.isHead)
	}
}

// makeRoom closes one socket that is no WebSocket yet: the one that has been silent for longest, else one that has been
// refused, else the one whose head has taken longest. It reports false if there is none but those that Authorize thinks
// about.
func (e *Engine) makeRoom() bool {
	w := &e.queues
	why := limitSilent
	k, ok := w.silent.pop(e.isSilent)
	if !ok {
		why = limitHandshakes
		k, ok = w.refused.pop(e.isRefused)
	}
	if !ok {
		k, ok = w.heads.pop(e.isHead)
	}
	if ok {
		e.count.limit(why)
		e.teardown(e.conn(k))
	}
	return ok
}

// addresses counts the connections of each client address, of all kinds: before and after the handshake, and those that
// net/http has. Nothing is counted without a limit.
type addresses struct {
	limit int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// clientOf is what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is the least that a
// provider gives to a customer. It is the zero value for a connection without an address.
func clientOf(remote netip.AddrPort) netip.Addr {
	a := remote.Addr().Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// enter counts a connection. It reports false if its client has as many as it may, unless the connection has moved here
// and is let in anyway.
func (a *addresses) enter(remote netip.AddrPort, anyway bool) (counted, ok bool) {
	client := clientOf(remote)
	if a.limit <= 0 || !client.IsValid() {
		return false, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[client] >= a.limit && !anyway {
		return false, false
	}
	if a.open == nil {
		a.open = make(map[netip.Addr]int)
	}
	a.open[client]++
	return true, true
}

// leave ends what enter has counted.
func (a *addresses) leave(remote netip.AddrPort) {
	client := clientOf(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[client]--; a.open[client] <= 0 {
		delete(a.open, client)
	}
}

// enter counts c among the connections of its address. See addresses.enter. On the loop.
func (c *Conn) enter(anyway bool) (ok bool) {
	counted, ok := c.eng.addresses.enter(c.remote, anyway)
	if counted {
		c.loopBits |= bitCounted
	}
	return ok
}

// leave ends enter.
func (c *Conn) leave() {
	if c.loopBits&bitCounted != 0 {
		c.loopBits &^= bitCounted
		c.eng.addresses.leave(c.remote)
	}
}

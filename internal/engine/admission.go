package engine

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/reactor"
)

// socketQueues lists the sockets that are not WebSockets yet, by how much is lost if one is closed to make room for a
// new one. On the loop only.
type socketQueues struct {
	silent  socketQueue // accepted, no byte received
	refused socketQueue // refused, the answer is being sent
	heads   socketQueue // part of a request head received
	kept    socketQueue // kept alive after an HTTP request: closed for other HTTP requests only
}

// socketQueue lists sockets, oldest first. A socket that has left the state stays in the list until pop skips it.
type socketQueue struct {
	keys  []reactor.Key
	first int // keys before it were skipped
}

// push appends a socket. When the list is full, it removes those for which stays is false.
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

// pop removes and returns the oldest socket for which stays is true.
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

// line adds c, which is not a WebSocket yet, to the matching queue.
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

// makeRoom closes a socket that is not a WebSocket yet: the oldest one that has sent nothing, or else the oldest one
// that was refused, or else the one with the oldest head. It reports false if all are in Authorize.
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

// addresses counts the connections of each client address: those in their handshake, WebSockets, and those of the HTTP
// fallback. Without a limit it counts nothing.
type addresses struct {
	limit   atomic.Int64
	connect cadence // new connections; no limit if it is off

	mu    sync.Mutex
	open  map[netip.Addr]int
	next  map[netip.Addr]int64 // of connect; clients that have connected lately
	swept int64                // when clients were last removed from next
}

const (
	// maxConnectTable is the maximum number of clients whose connections are counted by time. For a further one, the
	// engine forgets another one.
	maxConnectTable = 1 << 16
	// sweepConnects is how often a full table is searched for clients that need not be remembered.
	sweepConnects = second
)

// arrive counts a new connection by Config.ConnectRate. It returns how long its client has to wait until it may open
// another one; 0 or less means that it may open this one. forgot reports that another client was forgotten for it.
func (a *addresses) arrive(remote netip.AddrPort, now int64) (wait int64, forgot bool) {
	client := clientOf(remote)
	if !a.connect.on() || !client.IsValid() {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next, known := a.next[client]
	if !a.connect.take(&next, now) {
		return a.connect.due(next) - now, false
	}
	if !known && len(a.next) >= maxConnectTable {
		forgot = a.forgetConnects(now)
	}
	if a.next == nil {
		a.next = make(map[netip.Addr]int64)
	}
	a.next[client] = next
	return 0, forgot
}

// forgetConnects makes room in a.next. It reports whether a client was forgotten too early.
func (a *addresses) forgetConnects(now int64) (early bool) {
	if now-a.swept >= sweepConnects {
		a.swept = now
		for client, next := range a.next {
			if next <= now {
				delete(a.next, client)
			}
		}
	}
	for client := range a.next {
		if len(a.next) < maxConnectTable {
			break
		}
		delete(a.next, client)
		early = true
	}
	return early
}

// clientOf returns what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is the least that a
// provider assigns to a customer. It returns the zero value for a connection without an address.
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

// enter counts a connection. It reports false if its client has reached the limit. With anyway, for a connection that
// has moved here, it counts the connection in any case.
func (a *addresses) enter(remote netip.AddrPort, anyway bool) (counted, ok bool) {
	client := clientOf(remote)
	limit := a.limit.Load()
	if limit <= 0 || !client.IsValid() {
		return false, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if int64(a.open[client]) >= limit && !anyway {
		return false, false
	}
	if a.open == nil {
		a.open = make(map[netip.Addr]int)
	}
	a.open[client]++
	return true, true
}

// leave undoes enter.
func (a *addresses) leave(remote netip.AddrPort) {
	client := clientOf(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[client]--; a.open[client] <= 0 {
		delete(a.open, client)
	}
}

// enter counts c among the connections of its address, unless that is a proxy. See addresses.enter. On the loop.
func (c *Conn) enter(anyway bool) (ok bool) {
	if c.via&viaExempt != 0 {
		return true
	}
	counted, ok := c.eng.addresses.enter(c.remote, anyway)
	if counted {
		c.loopBits |= bitCounted
	}
	return ok
}

// leave undoes enter.
func (c *Conn) leave() {
	if c.loopBits&bitCounted != 0 {
		c.loopBits &^= bitCounted
		c.eng.addresses.leave(c.remote)
	}
}

package engine

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// The phases of a connection. They only increase, except in Thaw.
const (
	phaseHead    uint32 = iota // the request head is incomplete
	phaseDecide                // Authorize is running
	phaseRefused               // an HTTP error is queued, after which the socket is closed
	phaseOpen
	phaseClosing // our close frame is queued or sent: nothing may follow
	phaseClosed
	phaseAway // frozen, or with another worker: only Thaw leads back
)

// Conn is a client connection. Besides a Conn, an idle connection costs only its entries in the tables of the loop.
type Conn struct {
	eng    *Engine
	route  *Route // nil before the handshake
	owner  any
	sock   reactor.Socket
	key    reactor.Key
	id     uint64
	remote netip.AddrPort

	// On the loop only.
	reader   ws.Reader
	in       *inbound // incomplete input: a request head, or a message in pieces; nil if there is none
	lastRead int64    // ns, time of the last bytes from the peer
	lastPing int64    // ns, last ping; before the open phase the time of accept, after it the start of the end
	expires  int64    // ns, when the connection must end; 0 means never
	loopBits loopBits
	agreed   agreement // set before the connection opens; any goroutine may then read it

	mu      sync.Mutex
	out     *outbox       // nil while no output waits
	box     *mailbox      // nil while no callback waits or runs on a goroutine
	end     *ending       // nil until something ends the connection; can be set in the open phase, see Conn.part
	phase   atomic.Uint32 // written with mu held once the connection is open
	blocked atomic.Bool   // the socket is full, and an event will follow when it is writable; written with mu held
	bits    connBits

	source uint16 // on the loop only: index in Engine.sources, until the handshake is over
	via    via    // on the loop only: the proxy of the connection
}

// loopBits are flags that only the loop uses.
type loopBits uint16

const (
	bitPaused      loopBits = 1 << iota // not read: the mailbox is full or Authorize is running
	bitReadPending                      // bytes arrived while the connection was not read
	bitHangup                           // the peer has shut down its side
	bitSwallow                          // further input is discarded
	bitPeerClosed                       // the peer's close frame was read
	bitFailed                           // the peer broke a rule: shut down our side after the last frame
	bitShut                             // our side is shut down
	bitSettling                         // the deadline is that of the end
	bitHeld                             // not read: a rate limit is reached
	bitCounted                          // counted among the connections of its address
	bitRated                            // not read: its message rate is reached
	bitMetered                          // has an entry in Engine.meters
	bitWaiting                          // in Engine.share.waiting
	bitKept                             // kept alive after an HTTP request, and nothing of the next one has arrived
	bitHead                             // the request that has begun is a HEAD: its response has no content
)

// bitsUnread are the flags of a connection that the engine does not read.
const bitsUnread = bitPaused | bitHeld | bitRated

// connBits are flags guarded by Conn.mu.
type connBits uint8

const (
	bitDirty   connBits = 1 << iota // in the engine's list for the next flush
	bitPressed                      // the queue was above the low-water mark or full: a Drain is due
	bitBroken                       // a write failed: the connection is gone
	bitLeaving                      // callbacks on a goroutine pause, because the connection is about to move
	bitContext                      // has an entry in Engine.contexts
	bitOver                         // the server has closed: messages that wait for their callback are dropped
	bitThirsty                      // a recovery waits for room in the queue
)

// maxConnSize is the memory budget of a Conn. An idle connection uses little else.
const maxConnSize = 256

var _ [maxConnSize - unsafe.Sizeof(Conn{})]byte

// ID returns the id of the connection, which is unique among all workers and never reused.
func (c *Conn) ID() uint64 { return c.id }

// Owner returns the owner, as set with SetOwner.
func (c *Conn) Owner() any { return c.owner }

// SetOwner attaches the application's own data to c. Call it only in Authorize and Open.
func (c *Conn) SetOwner(o any) { c.owner = o }

// Away reports whether c is moving to another worker or has arrived there. On the loop.
func (c *Conn) Away() bool { return c.phase.Load() == phaseAway }

// Open reports whether c is open: not closing and not moving. It is safe for concurrent use.
func (c *Conn) Open() bool { return c.phase.Load() == phaseOpen }

// Remote returns the address of the client: that of the peer, unless a proxy has named another one. It is the zero
// value for a Unix socket. It may change until Open.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Peer returns the address of the client as log lines show it: "unix" for a Unix socket.
func (c *Conn) Peer() string {
	if !c.remote.IsValid() {
		return "unix"
	}
	return c.remote.String()
}

// adopt adds a socket that was just accepted. Beyond Config.MaxHandshakes, it closes another socket that is not a
// WebSocket, or the new one if there is none.
func (e *Engine) adopt(k reactor.Key, s reactor.Socket, remote netip.AddrPort, source uint16) *Conn {
	e.count.accepted.Add(1)
	c := e.newConn(k, s, remote)
	c.source = source
	e.handshakes.Add(1)
	e.loop.SetDeadline(k, e.loop.Now()+int64(e.cfg.HandshakeTimeout))
	if e.handshakes.Load() > e.limits.handshakes.Load() && !e.makeRoom() {
		e.count.limit(limitHandshakes)
		e.teardown(c)
		return c
	}
	if !c.expect() {
		return c
	}
	e.line(c)
	return c
}

// newConn makes the Conn of a socket. It is not counted yet.
func (e *Engine) newConn(k reactor.Key, s reactor.Socket, remote netip.AddrPort) *Conn {
	c := &Conn{eng: e, key: k, sock: s, remote: remote, lastRead: e.loop.Now(), lastPing: e.loop.Now()}
	for int(k.Index) >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[k.Index] = c
	return c
}

// teardown ends c on the loop: it closes the socket, removes c from the tables, and calls Close if Open was called.
func (e *Engine) teardown(c *Conn) {
	if ph := c.phase.Load(); (ph == phaseOpen || ph == phaseClosing) && c.route.Leaves != nil {
		c.leaves()
	}
	c.mu.Lock()
	was := c.phase.Load()
	if was >= phaseClosed {
		c.mu.Unlock()
		return
	}
	c.phase.Store(phaseClosed)
	c.endContext(ErrClosed)
	if c.out != nil {
		e.count.queued(-c.out.size)
		c.out.release()
		e.outboxes.Put(c.out)
		c.out = nil
	}
	end := c.end
	c.mu.Unlock()

	e.loop.Close(c.key, c.sock)
	e.conns[c.key.Index] = nil
	c.forgetRate()
	c.dropWindows()
	delete(e.gapped, c)
	delete(e.meters, c)
	c.leave()
	c.dropInput()
	if was < phaseOpen {
		c.tally().Add(-1)
		e.nudge()
		return
	}
	e.idsMu.Lock()
	delete(e.ids, c.id)
	e.idsMu.Unlock()
	e.unsubscribeAll(c)
	if end == nil {
		end = &ending{code: ws.CloseAbnormal}
	}
	e.count.closed(end.code)
	c.dispatch(event{kind: eventClose, end: end})
}

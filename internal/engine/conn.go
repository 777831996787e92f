package engine

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// The phases of a connection's life. They only grow, but for a Thaw.
const (
	phaseHead    uint32 = iota // the request head is not complete
	phaseDecide                // Authorize is thinking
	phaseRefused               // an HTTP error was queued; the socket closes behind it
	phaseOpen
	phaseClosing // our close frame is queued or sent; nothing else may follow it
	phaseClosed
	phaseAway // frozen, or with another worker: a Thaw leads back
)

// Conn is one client: everything an idle connection costs, but its entries in the tables of the loop.
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
	in       *inbound // what is incomplete: a request head, or a message in several pieces; nil while nothing is
	lastRead int64    // ns, time of the last bytes from the peer
	lastPing int64    // ns; before the open phase the time of the accept, after it that of the beginning of the end
	expires  int64    // ns, when the connection has to end; 0 is never
	loopBits loopBits

	mu      sync.Mutex
	out     *outbox       // nil while nothing waits to be written
	box     *mailbox      // nil while no callback waits or runs on a goroutine
	end     *ending       // nil while nothing has ended the connection; set in the open phase, see Conn.part
	phase   atomic.Uint32 // written with mu held once the connection is open
	blocked atomic.Bool   // the socket is full; it tells when it is writable. Written with mu held
	bits    connBits
}

// loopBits are flags that only the loop touches.
type loopBits uint16

const (
	bitPaused      loopBits = 1 << iota // not read: the mailbox is full, or Authorize is thinking
	bitReadPending                      // bytes arrived meanwhile
	bitHangup                           // the peer has shut its side
	bitSwallow                          // what still arrives is thrown away
	bitPeerClosed                       // the peer's close frame was read
	bitFailed                           // the peer broke a rule: shut our side after the last word
	bitShut                             // our side is shut
	bitSettling                         // the deadline is that of the end
	bitHeld                             // not read: a rate is reached
	bitCounted                          // among the connections of its address
	bitKept                             // kept alive after an HTTP request, and nothing of the next one has come
)

// connBits are flags guarded by Conn.mu.
type connBits uint8

const (
	bitDirty   connBits = 1 << iota // on the engine's list for the next flush
	bitPressed                      // the queue was above the low mark, or full: a Drain is owed
	bitBroken                       // a write failed: the connection is gone
	bitLeaving                      // callbacks on a goroutine pause: the connection is about to move
	bitOver                         // the server has closed: messages that wait for their callback are dropped
)

// maxConnSize is the budget for a Conn. An idle connection has little else.
const maxConnSize = 256

var _ [maxConnSize - unsafe.Sizeof(Conn{})]byte

// ID is the connection's name, unique among all workers for ever.
func (c *Conn) ID() uint64 { return c.id }

// Owner is what Authorize set as the owner.
func (c *Conn) Owner() any { return c.owner }

// SetOwner ties c to the application's own record. Only in Authorize and Open.
func (c *Conn) SetOwner(o any) { c.owner = o }

// Away says that c is under way to another worker, or has arrived there. On the loop.
func (c *Conn) Away() bool { return c.phase.Load() == phaseAway }

// Open says that c is open: neither closing nor under way. Any goroutine.
func (c *Conn) Open() bool { return c.phase.Load() == phaseOpen }

// Remote is the peer's address.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// adopt makes the record of a new socket.
func (e *Engine) adopt(k reactor.Key, s reactor.Socket, remote netip.AddrPort) *Conn {
	e.count.accepted.Add(1)
	return e.enter(k, s, remote)
}

// enter makes the record of a socket that was just put on the loop. Beyond Config.MaxHandshakes another one that is no
// WebSocket is closed for it, or else the new one itself.
func (e *Engine) enter(k reactor.Key, s reactor.Socket, remote netip.AddrPort) *Conn {
	c := e.record(k, s, remote)
	e.handshakes.Add(1)
	e.loop.SetDeadline(k, e.loop.Now()+int64(e.cfg.HandshakeTimeout))
	if e.handshakes.Load() > int64(e.cfg.MaxHandshakes) && !e.makeRoom() {
		e.count.limit(limitHandshakes)
		e.teardown(c)
		return c
	}
	if !c.enter(false) {
		e.count.limit(limitPerAddress)
		c.refuse(errPerAddress)
		return c
	}
	e.line(c)
	return c
}

// record makes the record of a socket, which counts nowhere yet.
func (e *Engine) record(k reactor.Key, s reactor.Socket, remote netip.AddrPort) *Conn {
	c := &Conn{eng: e, key: k, sock: s, remote: remote, lastRead: e.loop.Now(), lastPing: e.loop.Now()}
	for int(k.Index) >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[k.Index] = c
	return c
}

// teardown ends c on the loop: the socket closes, the tables forget it, and Close is told if Open was.
func (e *Engine) teardown(c *Conn) {
	c.mu.Lock()
	was := c.phase.Load()
	if was >= phaseClosed {
		c.mu.Unlock()
		return
	}
	c.phase.Store(phaseClosed)
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
	c.forgetPace()
	delete(e.gapped, c)
	c.leave()
	c.dropInput()
	if was < phaseOpen {
		c.tally().Add(-1)
		return
	}
	e.idsMu.Lock()
	delete(e.ids, c.id)
	e.idsMu.Unlock()
	e.topicsMu.Lock()
	e.topics.Drop(c.key.Index)
	delete(e.ahead, c.key.Index)
	e.topicsMu.Unlock()
	if end == nil {
		end = &ending{code: ws.CloseAbnormal}
	}
	e.count.closed(end.code)
	c.dispatch(event{kind: eventClose, end: end})
}

package secure

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// gated is a connection over which a handshake takes place. It holds a token while it computes, reads ahead but returns
// no more than one record at a time, so that crypto/tls holds nothing back that belongs to later records, and remembers
// what was written.
type gated struct {
	net.Conn
	gate   *gate
	turn   chan struct{} // of gate
	queued bool          // the same: it waits; guarded by gate.mu
	gone   chan struct{} // closed by abandon
	once   sync.Once     // closes gone
	holds  bool
	begun  bool         // it has had a turn
	waited atomic.Int64 // nanoseconds that it has waited for its turns, see Conn.Waited
	ahead  []byte       // was read, and not used
	*buffers
	left    int  // bytes of the current record that were not used
	alert   byte // the last alert that was not encrypted, see Conn.explain
	total   int  // bytes that were read in the handshake
	forgot  bool // more than maxWritten was written: the number of the next record is not known
	record  bool // remember what is written, and return one record at a time
	patient atomic.Pointer[func(written int) bool]
}

const (
	// maxWritten bounds what is remembered. A handshake writes some kilobytes, mostly certificates.
	maxWritten = 128 << 10
	// maxHandshake bounds what a client may send in its handshake, which crypto/tls collects. A ClientHello has up to
	// some kilobytes, and so have the certificates of a client.
	maxHandshake = 32 << 10
)

var errLong = errors.New("secure: the client's handshake is too long")

// enter waits for a turn. It returns an error if the connection was abandoned meanwhile, or if too many wait.
func (g *gated) enter() error {
	g.waited.Add(-reactor.Monotonic())
	err := g.gate.enter(g)
	g.waited.Add(reactor.Monotonic())
	g.holds, g.begun = err == nil, true
	return err
}

// abandon closes the connection, and ends enter. It is safe for concurrent use.
func (g *gated) abandon() {
	g.once.Do(func() { close(g.gone) })
	_ = g.Conn.Close()
}

func (g *gated) leave() {
	if g.holds {
		g.holds = false
		g.gate.leave()
	}
}

// buffers are needed during a handshake only.
type buffers struct {
	read    []byte // has room for gated.ahead
	written []byte // the records of the handshake, if they are remembered
}

// most is the largest buffer that is used again.
const most = 16 << 10

// begin gets buffers, and end gives them back. What was read, and not used, stays.
func (g *gated) begin(pool *sync.Pool) {
	if g.buffers, _ = pool.Get().(*buffers); g.buffers == nil {
		g.buffers = new(buffers)
	}
}

func (g *gated) end(pool *sync.Pool) {
	g.record, g.ahead = false, append([]byte(nil), g.ahead...)
	b := g.buffers
	g.buffers = new(buffers) // crypto/tls may go on
	if b.read, b.written = b.read[:0], b.written[:0]; cap(b.read) <= most && cap(b.written) <= most {
		pool.Put(b)
	}
}

// Read implements net.Conn. Others compute meanwhile.
func (g *gated) Read(p []byte) (int, error) {
	if !g.holds {
		if len(g.ahead) > 0 {
			return g.use(p), nil
		}
		return g.Conn.Read(p)
	}
	for {
		if n := g.next(p); n > 0 {
			return n, nil
		}
		if g.total >= maxHandshake {
			return 0, errLong
		}
		g.leave()
		if cap(g.ahead)-len(g.ahead) < readAhead/4 {
			g.read = slices.Grow(append(g.read[:0], g.ahead...), readAhead)
			g.ahead = g.read
		}
		n, err := g.Conn.Read(g.ahead[len(g.ahead):cap(g.ahead)])
		if err := g.enter(); err != nil {
			return 0, err
		}
		g.total += n
		g.ahead = g.ahead[:len(g.ahead)+n]
		if n == 0 && err != nil {
			return 0, err
		}
	}
}

// alertRecord is the type of a record with an alert: two bytes, if it is not encrypted. RFC 8446 §6.
const alertRecord = 21

// readAhead fits what a client sends at once in a handshake.
const readAhead = 4 << 10

// next takes bytes of the current record, as far as they are there.
func (g *gated) next(p []byte) int {
	if !g.record {
		return g.use(p)
	}
	if g.left == 0 {
		if len(g.ahead) < tlsrecord.HeaderSize {
			return 0
		}
		g.left = tlsrecord.HeaderSize + int(g.ahead[3])<<8 + int(g.ahead[4])
		if g.ahead[0] == alertRecord && g.left == tlsrecord.HeaderSize+2 && len(g.ahead) >= g.left {
			g.alert = g.ahead[tlsrecord.HeaderSize+1]
		}
	}
	n := g.use(p[:min(len(p), g.left)])
	g.left -= n
	return n
}

func (g *gated) use(p []byte) int {
	n := copy(p, g.ahead)
	if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
		g.ahead = g.read[:0]
	}
	return n
}

// send writes p. Beyond a deadline it goes on if g.patient says so: for crypto/tls that would be the end.
func (g *gated) send(p []byte) (n int, err error) {
	for {
		written, err := g.Conn.Write(p[n:])
		n += written
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if goOn := g.patient.Load(); goOn == nil || !(*goOn)(written) {
			return n, err
		}
	}
}

// NetConn returns the connection below, as [tls.Conn.NetConn] does.
func (g *gated) NetConn() net.Conn { return g.Conn }

// Write implements net.Conn. Others compute meanwhile: the client may not read.
func (g *gated) Write(p []byte) (int, error) {
	if g.record {
		g.forgot = g.forgot || len(g.written)+len(p) > maxWritten
	}
	if g.record && !g.forgot {
		g.written = append(g.written, p...)
	}
	if !g.holds {
		return g.send(p)
	}
	g.leave()
	n, err := g.Conn.Write(p)
	if err := g.enter(); err != nil {
		return n, err
	}
	return n, err
}

package secure

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// gated is a connection over which a handshake takes place. It holds a token while it computes, reads ahead but returns
// no more than one record at a time, so that crypto/tls holds nothing back that belongs to later records, and remembers
// what was written.
type gated struct {
	net.Conn
	gate  chan struct{}
	gone  chan struct{} // closed by abandon
	once  sync.Once     // closes gone
	holds bool
	ahead []byte // was read, and not used
	left  int    // bytes of the current record that were not used
	total int    // bytes that were read in the handshake
	// Written are the records of the handshake. Nil means that nobody asks for them.
	written []byte
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

// enter waits for a token. It reports false if the connection was abandoned meanwhile.
func (g *gated) enter() bool {
	select {
	case g.gate <- struct{}{}:
		g.holds = true
		return true
	case <-g.gone:
		return false
	}
}

// abandon closes the connection, and ends enter. It is safe for concurrent use.
func (g *gated) abandon() {
	g.once.Do(func() { close(g.gone) })
	_ = g.Conn.Close()
}

func (g *gated) leave() {
	if g.holds {
		g.holds = false
		<-g.gate
	}
}

// release ends the handshake of a connection that crypto/tls keeps.
func (g *gated) release() { g.record, g.written = false, nil }

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
		buf := make([]byte, readAhead)
		n, err := g.Conn.Read(buf)
		if !g.enter() {
			return 0, net.ErrClosed
		}
		g.total += n
		g.ahead = append(g.ahead, buf[:n]...)
		if n == 0 && err != nil {
			return 0, err
		}
	}
}

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
	}
	n := g.use(p[:min(len(p), g.left)])
	g.left -= n
	return n
}

func (g *gated) use(p []byte) int {
	n := copy(p, g.ahead)
	g.ahead = g.ahead[n:]
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
	if !g.enter() {
		return n, net.ErrClosed
	}
	return n, err
}

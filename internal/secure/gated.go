package secure

import (
	"net"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// gated is a connection over which a handshake takes place. It holds a token while it computes, reads ahead but returns
// no more than one record at a time, so that crypto/tls holds nothing back that belongs to later records, and remembers
// what was written.
type gated struct {
	net.Conn
	gate  chan struct{}
	holds bool
	ahead []byte // was read, and not used
	left  int    // bytes of the current record that were not used
	// Written are the records of the handshake. Nil means that nobody asks for them.
	written []byte
	record  bool // remember what is written, and return one record at a time
}

// maxWritten bounds what is remembered. A handshake writes some kilobytes, mostly certificates.
const maxWritten = 128 << 10

func (g *gated) enter() {
	g.gate <- struct{}{}
	g.holds = true
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
		g.leave()
		buf := make([]byte, readAhead)
		n, err := g.Conn.Read(buf)
		g.enter()
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

// NetConn returns the connection below, as [tls.Conn.NetConn] does.
func (g *gated) NetConn() net.Conn { return g.Conn }

// Write implements net.Conn. Others compute meanwhile: the client may not read.
func (g *gated) Write(p []byte) (int, error) {
	if g.holds {
		g.leave()
		defer g.enter()
	}
	if g.record && len(g.written)+len(p) <= maxWritten {
		g.written = append(g.written, p...)
	}
	return g.Conn.Write(p)
}

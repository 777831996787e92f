package engine

import (
	"crypto/tls"
	"log/slog"

	"github.com/expedite-go/expedite/internal/reactor"
)

// secure begins TLS on c, if its source wants it. ahead are bytes that came after a PROXY header. It reports false if
// the connection has been lost. On the loop, before any byte of a request is read.
func (c *Conn) secure(ahead []byte) bool {
	if c.via&viaBare == 0 {
		return true
	}
	e, wrap := c.eng, c.Source().Secure
	c.via = c.via&^viaBare | viaSecure
	if wrap == nil { // moved here from a worker with another configuration
		e.teardown(c)
		return false
	}
	s, err := e.loop.Wrap(c.key, c.sock, ahead, wrap)
	if err != nil {
		e.clientLog(slog.LevelWarn, "connection lost before TLS", "remote", c.Peer(), "error", err)
		e.teardown(c)
		return false
	}
	c.sock = s
	return true
}

// secured takes over from the handshake of TLS. It reports false if the connection has been lost. On the loop.
func (c *Conn) secured() bool {
	s, err := c.eng.loop.Secure(c.key, c.sock)
	if err != nil {
		c.eng.clientLog(slog.LevelWarn, "connection lost after the handshake of TLS", "remote", c.Peer(), "error", err)
		c.eng.teardown(c)
		return false
	}
	c.mu.Lock()
	c.sock = s
	c.mu.Unlock()
	c.eng.nudge()
	return true
}

// presented reports whether the peer has presented a certificate, which does not move: Authorize needs it.
func (c *Conn) presented() bool {
	state := c.sock.TLS()
	return state != nil && len(state.PeerCertificates) > 0
}

// TLS returns the state of the TLS connection to the peer, or nil if there is none.
func (x *Requests) TLS() *tls.ConnectionState {
	conn := x.Conn
	if h, ok := conn.(*httpConn); ok {
		conn = h.Conn
	}
	if c, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}

// sealedShare returns how much of need has to come from records of TLS that have begun to arrive or to leave: what they
// have beyond half of the limit. So clients that stop amidst records do not cost others their messages.
func sealedShare(sealed, need, limit int64) int64 { return min(max(sealed-limit/2, 0), need) }

// shedSealed ends connections whose socket has such a record, until need bytes are freed. It returns how many were. The
// records do not differ much in size: any of them will do. On the loop.
func (e *Engine) shedSealed(need int64, why limit, has func(reactor.Socket) bool) (freed int64) {
	held := func() int64 {
		arriving, leaving := e.loop.Sealed()
		return arriving + leaving
	}
	before := held()
	for _, c := range e.conns {
		if freed >= need {
			break
		}
		if c != nil && has(c.sock) {
			e.count.limit(why)
			e.teardown(c)
			freed = before - held()
		}
	}
	return freed
}

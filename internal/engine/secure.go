package engine

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/reactor"
)

// secure begins TLS on c, which has viaBare, when the first byte of it has come: a client that is silent has no
// goroutine, and moves. ahead are bytes that came after a PROXY header. On the loop.
func (c *Conn) secure(ahead []byte) {
	e, wrap := c.eng, c.Source().Secure
	c.via = c.via&^viaBare | viaSecure
	if wrap == nil { // moved here from a worker with another configuration
		e.teardown(c)
		return
	}
	s, err := e.loop.Wrap(c.key, c.sock, ahead, wrap)
	if err != nil {
		e.clientLog(slog.LevelWarn, "connection lost before TLS", "remote", c.Peer(), "error", err)
		e.teardown(c)
		return
	}
	c.sock = s
}

// secured takes over from the handshake of TLS. It reports false if the connection has been lost. On the loop.
func (c *Conn) secured() bool {
	waited := c.sock.Waited()
	s, err := c.eng.loop.Secure(c.key, c.sock)
	if err != nil {
		c.eng.clientLog(slog.LevelWarn, "connection lost after the handshake of TLS", "remote", c.Peer(), "error", err)
		c.eng.teardown(c)
		return false
	}
	c.mu.Lock()
	c.sock = s
	c.mu.Unlock()
	if waited > 0 { // see Timeout
		c.lastPing += int64(waited)
		c.eng.loop.SetDeadline(c.key, c.lastPing+int64(c.eng.cfg.HandshakeTimeout))
	}
	c.eng.nudge()
	return true
}

// broke ends c, whose socket has failed, and logs why if that was TLS: often a wrong version, or a certificate that one
// side refuses. A client that has just left is not worth a line. On the loop.
func (c *Conn) broke(err error) {
	defer c.eng.teardown(c)
	c.eng.count.resets.Add(1)
	op, network := errors.AsType[*net.OpError](err) // alerts are of this type, too
	network = network && (op.Op == "read" || op.Op == "write")
	msg := "TLS handshake failed"
	switch {
	case reactor.Violates(err):
		msg = "a client has broken TLS"
	case !c.sock.Shakes(), network, errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF):
		return
	}
	text := err.Error() // it may have what the client has sent, of any length
	if len(text) > maxTLSError {
		text = strings.ToValidUTF8(text[:maxTLSError], "") + "…"
	}
	c.eng.clientLog(slog.LevelInfo, msg, "remote", c.Peer(), "error", text)
}

// maxTLSError is how many bytes of an error of TLS are logged.
const maxTLSError = 200

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

// sealed returns how many bytes of records sockets with TLS hold, without those that are on their way out. It is safe
// for concurrent use.
func (e *Engine) sealed() (arriving, leaving int64) {
	arriving, leaving = e.loop.Sealed()
	return arriving - e.shedding.arriving.Load(), leaving - e.shedding.leaving.Load()
}

// records are those that sockets with TLS hold in one direction.
type records int

const (
	arrivingRecords records = iota // they have begun to arrive, or were not read
	leavingRecords                 // their socket has not taken them yet
)

// held returns how many bytes of records all sockets hold.
func (r records) held(e *Engine) int64 {
	in, out := e.sealed()
	return [...]int64{in, out}[r]
}

// of reports whether a socket holds such a record.
func (r records) of(s reactor.Socket) bool {
	if r == arrivingRecords {
		return s.Holds()
	}
	return s.Waits()
}

// shedding is what connections hold that are closed on another goroutine.
type shedding struct{ arriving, leaving atomic.Int64 }

// shedSealed ends connections whose socket has such a record, until need bytes are freed: first those on the loop, then
// those that net/http has. It returns how many were. The records do not differ much in size: any of them will do. On
// the loop.
func (e *Engine) shedSealed(need int64, why limit, r records) (freed int64) {
	before := r.held(e)
	if need <= 0 || before <= 0 {
		return 0
	}
	for _, c := range e.conns {
		if freed >= need {
			return freed
		}
		if c != nil && r.of(c.sock) {
			e.count.limit(why)
			e.teardown(c)
			freed = before - r.held(e)
		}
	}
	return freed + e.shedRequests(need-freed, why, r)
}

// shedRequests does that for connections that net/http has.
func (e *Engine) shedRequests(need int64, why limit, r records) (freed int64) {
	var list []*Requests
	e.requestsMu.Lock()
	for x := range e.requests {
		if in, out := x.held(); in+out > 0 {
			list = append(list, x)
		}
	}
	e.requestsMu.Unlock()
	for _, x := range list {
		in, out := x.held()
		n := [...]int64{in, out}[r]
		if freed >= need {
			break
		}
		if n == 0 || !x.finish() {
			continue
		}
		freed += n
		e.count.limit(why)
		e.shedding.arriving.Add(in)
		e.shedding.leaving.Add(out)
		go func() { // ends within the time that closing TLS waits for the peer
			_ = reclaim(x.Conn).Close()
			e.shedding.arriving.Add(-in)
			e.shedding.leaving.Add(-out)
		}()
	}
	return freed
}

// held returns how many bytes of records a connection of net/http holds.
func (x *Requests) held() (arriving, leaving int64) {
	if h, ok := x.Conn.(*httpConn); ok {
		return reactor.Held(h.Conn)
	}
	return 0, 0
}

// shakingBytes is about what a connection in the handshake of TLS takes: crypto/tls, and the stack of a goroutine.
const shakingBytes = 32 << 10

// shedHandshakes ends connections in the handshake of TLS, the oldest first, until need bytes are freed. It returns how
// many were. On the loop.
func (e *Engine) shedHandshakes(need int64, why limit) (freed int64) {
	q := &e.queues.silent
	for _, k := range q.keys[q.first:] {
		if freed >= need {
			break
		}
		if e.isSilent(k) && e.conn(k).sock.Shakes() {
			freed += shakingBytes
			e.count.limit(why)
			e.teardown(e.conn(k))
		}
	}
	return freed
}

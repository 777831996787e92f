package loadtest

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/expedite-go/expedite/internal/reactor"
)

const (
	// maxPending is the number of connects under way in a process: beyond it the ramp waits. It is below the usual
	// length of a server's accept queue, where SYNs would be dropped and sent again a second later.
	maxPending = 1024
	// maxAside is the same for those that a goroutine each makes.
	maxAside = 128
)

// pendingLimit is the number of connects to t that may be under way.
func pendingLimit(t *target) int {
	if t.tls || !canDial {
		return maxAside
	}
	return maxPending
}

// dial begins to connect a client. If that fails at once it returns the cause, and nobody else is told; else the
// behavior is told of the outcome later.
func (g *generator) dial(t *target, id uint32, u *user) (cause string) {
	began := reactor.Monotonic()
	g.dials++
	if t.tls || !canDial {
		g.dialAside(t, id, u, began)
		return ""
	}
	fd, err := dialFD(t.pair(g.dials - 1))
	if err != nil {
		return g.unable(err)
	}
	k, s, err := g.loop.Attach(fd)
	if err != nil {
		return g.unable(err)
	}
	c := g.adopt(k, s, id, u)
	c.began, c.state = began, stateConnecting
	g.totals.Pending++
	return ""
}

// unable counts a connect that did not even begin.
func (g *generator) unable(err error) (why string) {
	why = cause(err)
	g.totals.Failed++
	count(&g.totals.Errors, why)
	return why
}

// adopt makes the record of a socket that was just put on the loop.
func (g *generator) adopt(k reactor.Key, s reactor.Socket, id uint32, u *user) *conn {
	c := g.conns.slot(k.Index)
	*c = conn{key: k, sock: s, id: id, user: u}
	if u != nil {
		u.key = k
	}
	g.loop.SetDeadline(k, g.loop.Now()+int64(g.cfg.Timeout))
	return c
}

// dialAside connects on a goroutine, which ends with the connect, its timeout or the generator.
func (g *generator) dialAside(t *target, id uint32, u *user, began int64) {
	g.totals.Pending++
	local, remote := t.pair(g.dials - 1)
	d := net.Dialer{Timeout: g.cfg.Timeout}
	if local.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	g.loop.Runnable()
	g.aside.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, g.cfg.Timeout)
		defer cancel()
		conn, err := d.DialContext(ctx, "tcp", remote.String())
		if err == nil && t.tls {
			conn, err = g.secure(ctx, conn, t)
		}
		posted := g.loop.Post(func() { g.arrived(conn, err, caller{id, u, began}) })
		if !posted && conn != nil {
			_ = conn.Close()
		}
	})
}

// caller is whom a connection is made for.
type caller struct {
	id    uint32
	user  *user
	began int64
}

// secure makes the handshake of TLS.
func (g *generator) secure(ctx context.Context, raw net.Conn, t *target) (net.Conn, error) {
	c := tls.Client(raw, &tls.Config{
		ServerName: t.name, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: g.cfg.Insecure,
	})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// arrived takes the outcome of dialAside, on the loop.
func (g *generator) arrived(raw net.Conn, err error, by caller) {
	if g.ending {
		g.totals.Pending--
		if raw != nil {
			_ = raw.Close()
		}
		return
	}
	var k reactor.Key
	var s reactor.Socket
	if err == nil {
		k, s, err = g.loop.AddConn(raw)
	}
	if err != nil {
		if raw != nil {
			_ = raw.Close()
		}
		g.totals.Pending--
		g.behavior.refused(by.user, g.unable(err))
		return
	}
	c := g.adopt(k, s, by.id, by.user)
	c.began = by.began
	g.request(c)
}

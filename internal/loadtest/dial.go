package loadtest

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/expedite-go/expedite/internal/reactor"
)

const (
	// maxPending limits the connects that are in progress in a process; the ramp waits while it is reached. It is below
	// the usual length of a server's accept queue: a full queue drops SYNs, which are sent again a second later.
	maxPending = 1024
	// maxBackgroundDials is the same limit for connects that need a goroutine each.
	maxBackgroundDials = 128
)

// pendingLimit returns how many connects to t may be in progress.
func pendingLimit(t *target) int {
	if t.tls || !canDial {
		return maxBackgroundDials
	}
	return maxPending
}

// dial begins to connect a client. If that fails at once, dial returns the cause and does not call the behavior.
// Otherwise the behavior is called with the outcome later.
func (g *generator) dial(t *target, id uint32, u *user) (cause string) {
	began := reactor.Monotonic()
	g.dials++
	if t.tls || !canDial {
		g.dialInBackground(t, id, u, began)
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

// unable counts a connect that could not begin.
func (g *generator) unable(err error) (why string) {
	why = cause(err)
	g.totals.Failed++
	count(&g.totals.Errors, why)
	return why
}

// adopt fills in the record of a socket that was just added to the loop.
func (g *generator) adopt(k reactor.Key, s reactor.Socket, id uint32, u *user) *conn {
	c := g.conns.slot(k.Index)
	*c = conn{key: k, sock: s, id: id, user: u}
	if u != nil {
		u.key = k
	}
	g.loop.SetDeadline(k, g.loop.Now()+int64(g.cfg.Timeout))
	return c
}

// dialInBackground connects on a goroutine, which ends with the connect, its timeout or the generator.
func (g *generator) dialInBackground(t *target, id uint32, u *user, began int64) {
	g.totals.Pending++
	local, remote := t.pair(g.dials - 1)
	d := net.Dialer{Timeout: g.cfg.Timeout}
	if local.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	g.loop.Runnable()
	g.background.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, g.cfg.Timeout)
		defer cancel()
		conn, err := d.DialContext(ctx, "tcp", remote.String())
		if err == nil && t.tls {
			conn, err = g.secure(ctx, conn, t)
		}
		posted := g.loop.Post(func() { g.dialed(conn, err, caller{id, u, began}) })
		if !posted && conn != nil {
			_ = conn.Close()
		}
	})
}

// caller identifies the client that a connection is made for.
type caller struct {
	id    uint32
	user  *user
	began int64
}

// secure performs the TLS handshake.
func (g *generator) secure(ctx context.Context, raw net.Conn, t *target) (net.Conn, error) {
	c := tls.Client(raw, &tls.Config{
		ServerName: t.name, NextProtos: []string{"http/1.1"}, RootCAs: g.cfg.CA, InsecureSkipVerify: g.cfg.Insecure,
	})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// dialed handles the outcome of dialInBackground, on the loop.
func (g *generator) dialed(raw net.Conn, err error, by caller) {
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

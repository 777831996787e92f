package engine

import (
	"log/slog"
	"net/netip"

	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/ws"
)

// Proxies tells which peers of a source are proxies, and how they name their clients. The zero Proxies is none.
type Proxies struct {
	// Trust has the addresses of proxies. What they say about their clients counts.
	Trust forwarded.Trust
	// All tells that all peers of the source are proxies, and None that no peer is. The proxies behind the peer are
	// those of Trust in any case.
	All, None bool
	// Header tells that proxies begin each connection with a PROXY header.
	Header bool
}

// trusts reports whether a peer of the source is a proxy.
func (p *Proxies) trusts(peer netip.Addr) bool {
	return p.All || !p.None && p.Trust.Trusts(peer)
}

// via describes the proxy of a connection until the handshake is complete.
type via uint8

const (
	viaWait   via = 1 << iota // the PROXY header is incomplete
	viaHeader                 // the PROXY header was read
	viaNobody                 // it named no client: what the requests say of theirs is not read
	viaTLS                    // the client reached the proxy over TLS, as the PROXY header says
	viaExempt                 // the address is that of a proxy: it is not counted among those of clients
	viaBare                   // TLS is to begin with the next byte, after the PROXY header. It can move until then
	viaSecure                 // the connection itself uses TLS
)

// origin is where a connection came from: all that the clients of its requests depend on.
type origin struct {
	remote netip.AddrPort // of the peer or, after a PROXY header, of the client that this named
	source uint16
	via    via
	at     *Source
}

// origin returns where c came from. On the loop, before become.
func (c *Conn) origin() origin { return origin{c.remote, c.source, c.via, c.Source()} }

// relays reports whether requests may come from other clients, which their header fields name.
func (o *origin) relays() bool {
	switch {
	case o.via&viaNobody != 0:
		return false
	case o.via&viaHeader != 0:
		return o.at.Proxies.Trust.Trusts(o.remote.Addr())
	default:
		return o.at.Proxies.trusts(o.remote.Addr())
	}
}

// client returns who sent a request. It is safe for concurrent use.
func (e *Engine) client(o *origin, req *ws.Request) forwarded.Client {
	who := forwarded.Client{Addr: o.remote}
	if o.relays() {
		var fields forwarded.Fields
		for _, f := range req.Header {
			fields.Collect(f.Name, f.Value)
		}
		who = o.at.Proxies.Trust.Client(o.remote, &fields)
	}
	if who.Scheme == "" && o.via&(viaTLS|viaSecure) != 0 {
		who.Scheme = "https"
	}
	if who.Err != nil {
		e.count.limit(limitForwarded)
		e.clientLog(slog.LevelWarn, "a proxy does not name its client", "remote", who.Addr.String(), "error", who.Err)
	}
	return who
}

// exempt reports whether the client of a request that a proxy relays is not counted, because it is a proxy. A request
// whose fields are wrong is counted among those of its proxy, so that a client cannot evade the limit by sending such
// fields.
func (o *origin) exempt(who *forwarded.Client) bool {
	return who.Err == nil && (who.Addr == o.remote || o.at.Proxies.Trust.Trusts(who.Addr.Addr()))
}

// redirects reports whether a client has to use TLS instead, at another address.
func (o *origin) redirects(who *forwarded.Client) bool { return o.at.Redirect && who.Scheme != "https" }

// unnamed reports whether neither the fields of a request nor its connection, which is that of a Unix socket, have an
// address. Such a request would evade every limit per address.
func (o *origin) unnamed(who *forwarded.Client) bool { return who.Err != nil && !o.remote.IsValid() }

// become makes the client of a request the client of c. It refuses c and reports false if that client has reached a
// limit. A plain request does not count as a new connection of its client. On the loop.
func (c *Conn) become(o *origin, who *forwarded.Client, plain bool) bool {
	if !o.relays() {
		return true // counted since its peer is known
	}
	if o.unnamed(who) {
		c.refuse(errUnnamed)
		return false
	}
	c.leave()
	c.remote = who.Addr
	c.via &^= viaExempt
	if o.exempt(who) {
		c.via |= viaExempt
	}
	return c.arrive(!plain)
}

// distrust removes the exemption from a moved connection if this worker does not trust its proxy.
func (c *Conn) distrust() {
	o := c.origin()
	local := c.via&viaNobody != 0 && o.at.Proxies.trusts(c.remote.Addr())
	if c.via&viaWait == 0 && !local && !o.relays() {
		c.via &^= viaExempt
	}
}

// arrive counts c for its client, also as a new connection if connects is set. It refuses c and reports false if the
// client has reached a limit. On the loop.
func (c *Conn) arrive(connects bool) bool {
	e := c.eng
	if c.via&viaExempt != 0 {
		return true
	}
	if connects {
		wait, forgot := e.addresses.arrive(c.remote, e.loop.Now())
		if forgot {
			e.count.limit(limitConnectTable)
		}
		if wait > 0 {
			c.turnAway(limitConnectRate, errConnectRate(wait))
			return false
		}
	}
	if !c.enter(false) {
		c.turnAway(limitPerAddress, errPerAddress)
		return false
	}
	return true
}

// turnAway refuses c because of a limit. It closes c without an answer if TLS has not begun, because its client could
// not read one.
func (c *Conn) turnAway(why limit, err *ws.HandshakeError) {
	c.eng.count.limit(why)
	c.eng.clientLog(slog.LevelInfo, "client refused",
		"reason", why.String(), "status", err.Status, "remote", c.Peer(), "error", err.Reason)
	if c.via&viaBare != 0 {
		c.eng.teardown(c)
		return
	}
	c.refuse(err)
}

// expect decides how c begins, whose peer was just accepted. It reports false if c has ended, for instance because its
// client has reached a limit. On the loop.
func (c *Conn) expect() bool {
	s := c.Source()
	if s.Secure != nil && c.remote.IsValid() {
		c.via = viaBare
	}
	if !s.Proxies.trusts(c.remote.Addr()) {
		return c.arrive(true)
	}
	c.via |= viaExempt
	if s.Proxies.Header {
		c.via |= viaWait
	}
	return true
}

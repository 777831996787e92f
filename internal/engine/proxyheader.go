package engine

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/expedite-go/expedite/internal/proxyproto"
	"github.com/expedite-go/expedite/ws"
)

var (
	errHeaderMissing   = &ws.HandshakeError{Status: http.StatusBadRequest, Reason: "a PROXY header is required"}
	errHeaderUntrusted = &ws.HandshakeError{Status: http.StatusBadRequest, Reason: "a PROXY header is not accepted here"}
)

// readHeader reads the PROXY header, with which b begins. b is c.in.buf if c has an inbound. It returns what the client
// has sent after the header.
func (c *Conn) readHeader(b []byte) (rest []byte) {
	h, n, err := proxyproto.Parse(b)
	switch {
	case err != nil:
		c.rejectHeader(b, err)
		return nil
	case n == 0:
		if c.in == nil {
			c.hold(b)
		}
		c.eng.boundPartials()
		return nil
	}
	rest = c.keepRest(b[n:])
	c.via = c.via&^viaWait | viaHeader
	if h.TLS {
		c.via |= viaTLS
	}
	if !h.Source.IsValid() {
		c.via |= viaNobody
	} else {
		c.remote = h.Source
		if !c.Source().Proxies.Trust.Trusts(h.Source.Addr()) {
			c.via &^= viaExempt
		}
	}
	if !c.arrive(true) {
		return nil
	}
	if c.via&viaBare != 0 && len(rest) > 0 {
		ahead := slices.Clone(rest)
		c.dropInput()
		c.secure(ahead)
		rest = nil
	}
	if rest == nil {
		c.eng.line(c) // as a socket that is silent
	}
	return rest
}

// rejectHeader ends c, whose proxy has not begun with a valid PROXY header. The specification (§2.2, §5) forbids to
// guess that the client has connected directly: it could be one behind a proxy that adds no header, and forge one.
func (c *Conn) rejectHeader(b []byte, err error) {
	e := c.eng
	missing := errors.Is(err, proxyproto.ErrMissing)
	switch {
	case missing:
		e.count.limit(limitProxyMissing)
	case errors.Is(err, proxyproto.ErrTooLong):
		e.count.limit(limitProxySize)
	default:
		e.count.limit(limitProxyInvalid)
	}
	e.clientLog(slog.LevelWarn, "connection of a proxy closed", "remote", c.Peer(), "error", err)
	if missing && mayBeHTTP(b[0]) {
		c.refuse(errHeaderMissing)
		return
	}
	e.teardown(c)
}

// mayBeHTTP reports whether an HTTP client may have sent the first byte of a connection: a letter, or an empty line.
func mayBeHTTP(b byte) bool { return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '\r' }

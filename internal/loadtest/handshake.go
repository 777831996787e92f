package loadtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"net/http"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	maxHead    = 16 << 10
	maxRefusal = 4 << 10 // bytes of a refusal that are read
)

// opening describes the opening handshake of a client.
type opening struct {
	target       *target
	header       []ws.Field
	subprotocols []string
}

// handshakeKey returns the nonce of a connection. It is derived from the connection's key and the generator's seed, so
// that it need not be stored until the response arrives. RFC 6455 §4.1.
func (g *generator) handshakeKey(c *conn) (key [16]byte) {
	x := g.seed ^ uint64(c.key.Index)<<32 ^ uint64(c.key.Gen)
	for i := range 2 {
		x += 0x9e3779b97f4a7c15
		hi, lo := bits.Mul64(x, 0xd6e8feb86659fd93)
		binary.LittleEndian.PutUint64(key[i*8:], hi^lo)
	}
	return key
}

// request sends the opening handshake.
func (g *generator) request(c *conn) {
	c.state = stateHead
	o := g.behavior.opening(c)
	req := ws.ClientRequest{
		Host: o.target.host, Target: o.target.request, Key: g.handshakeKey(c),
		Subprotocols: o.subprotocols, Header: o.header, Extensions: g.offer(),
	}
	b, err := req.AppendRequest(g.scratch[:0])
	if err != nil {
		g.fail(c, cause(err))
		return
	}
	g.scratch = b
	g.write(c, b)
}

// connected is called when a TCP connection is established or has failed.
func (g *generator) connected(c *conn, ev reactor.Events) {
	if ev&(reactor.Writable|reactor.Hangup) != 0 {
		g.request(c) // if the connect has failed, the write returns the reason
	}
}

// feedHead collects the server's response to the handshake.
func (g *generator) feedHead(c *conn, b []byte) {
	known, i := 0, c.key.Index
	if part, ok := g.partial[i]; ok {
		known = len(part)
		b = append(part, b...)
		g.partial[i] = b
	}
	n := ws.HeadEnd(b, known)
	if n < 0 {
		if len(b) > maxHead {
			g.fail(c, "handshake: response too long")
			return
		}
		if known == 0 {
			g.partial[i] = bytes.Clone(b)
		}
		return
	}
	req := ws.ClientRequest{
		Key: g.handshakeKey(c), Subprotocols: g.behavior.opening(c).subprotocols, Extensions: g.offer(),
	}
	shake, err := req.ParseResponse(b[:n])
	if err == nil && g.cfg.Compression {
		err = g.agree(c, shake.Extensions)
	}
	if e, ok := errors.AsType[*ws.ResponseError](err); ok && e.Status != http.StatusSwitchingProtocols {
		c.state = stateRefused
		delete(g.partial, i)
		g.feedRefusal(c, b, false)
		return
	}
	if err != nil {
		g.fail(c, cause(err))
		return
	}
	delete(g.partial, i)
	g.opened(c)
	if rest := b[n:]; len(rest) > 0 && c.state == stateOpen {
		g.feedFrames(c, rest)
	}
}

func (g *generator) opened(c *conn) {
	c.state = stateOpen
	g.loop.ClearDeadline(c.key)
	g.totals.Pending--
	g.totals.Open++
	g.totals.Peak = max(g.totals.Peak, g.totals.Open)
	g.totals.Opened++
	record(g.times.connect, g.readAt-c.began)
	g.behavior.opened(c)
}

// feedRefusal collects a response that refuses the handshake: its body may contain an error code.
func (g *generator) feedRefusal(c *conn, b []byte, end bool) {
	i := c.key.Index
	b = append(g.partial[i], b...)
	g.partial[i] = b
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		g.fail(c, "handshake: malformed response")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRefusal))
	_ = r.Body.Close()
	if err == nil || end || len(b) > maxHead {
		g.fail(c, refusal(r.StatusCode, body))
	}
}

// fail ends a connection that has not opened.
func (g *generator) fail(c *conn, cause string) {
	u := c.user
	g.release(c)
	g.totals.Pending--
	g.totals.Failed++
	count(&g.totals.Errors, cause)
	g.behavior.refused(u, cause)
}

// release closes the socket and frees the record.
func (g *generator) release(c *conn) {
	delete(g.partial, c.key.Index)
	delete(g.unsent, c.key.Index)
	delete(g.squeeze.parts, c.key.Index)
	g.loop.Close(c.key, c.sock)
	*c = conn{}
}

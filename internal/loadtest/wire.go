package loadtest

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// maxUnsent limits the bytes that wait for a server that does not read. The last message may exceed it.
const maxUnsent = 64 << 10

// read reads from the socket until it is empty, but at most one full buffer per turn of the loop.
func (g *generator) read(c *conn, hangup bool) {
	k := c.key
	for {
		buf := g.loop.Buffer()
		n, err := c.sock.Read(buf)
		g.readAt = reactor.Monotonic()
		if n > 0 {
			g.feed(c, buf[:n])
			if g.conns.get(k) != c {
				return
			}
		}
		switch {
		case err == nil && n == len(buf):
			g.loop.Again(k, reactor.Readable)
			return
		case err == nil && !hangup:
			return // a short read has emptied the socket; the next byte triggers a new edge
		case err == nil:
			continue // read up to the end
		case errors.Is(err, reactor.ErrAgain):
			return
		default:
			g.socketFailed(c, err)
			return
		}
	}
}

func (g *generator) feed(c *conn, b []byte) {
	switch c.state {
	case stateHead:
		g.feedHead(c, b)
	case stateRefused:
		g.feedRefusal(c, b, false)
	case stateOpen, stateClosing:
		g.feedFrames(c, b)
	}
}

// feedFrames parses bytes and handles their messages.
func (g *generator) feedFrames(c *conn, b []byte) {
	k, cfg := c.key, g.reader
	cfg.Compression = c.bits&bitSqueezed != 0
	for len(b) > 0 {
		ev, rest, err := c.reader.Next(b, &cfg)
		b = rest
		if err != nil {
			g.connectionLost(c, cause(err))
			return
		}
		switch ev.Kind {
		case ws.KindData:
			g.totals.BytesIn += uint64(len(ev.Data))
			if ev.Compressed {
				whole, err := g.inflate(c, &ev)
				if err != nil {
					g.connectionLost(c, cause(err))
					return
				}
				if !whole {
					continue
				}
			}
			if ev.Last {
				g.totals.Received++
			}
			if c.state == stateOpen {
				g.behavior.message(c, &ev)
			}
		case ws.KindPing:
			g.pong(c, ev.Data)
		case ws.KindClose:
			g.peerClosed(c, ev.Code)
		}
		if g.conns.get(k) != c {
			return
		}
	}
}

// pong answers a ping. RFC 6455 §5.5.3. If the socket is full it sends nothing: only the answer to the latest ping
// matters.
func (g *generator) pong(c *conn, payload []byte) {
	if c.state != stateOpen || c.bits&bitFull != 0 {
		return
	}
	g.totals.Pings++
	g.scratch = ws.AppendMaskedFrame(g.scratch[:0], ws.OpPong, g.mask(), payload)
	g.write(c, g.scratch)
}

// peerClosed handles the server's close frame. RFC 6455 §5.5.1, §7.1.1: the server closes the socket.
func (g *generator) peerClosed(c *conn, code ws.CloseCode) {
	if c.state != stateOpen {
		return // it answers our own
	}
	name := strconv.Itoa(int(code))
	count(&g.totals.Closed, name)
	g.close(c, code, "closed "+name)
}

// close sends a close frame. The server then closes the socket.
func (g *generator) close(c *conn, code ws.CloseCode, why string) {
	g.markClosed(c, why)
	c.state = stateClosing
	g.loop.SetDeadline(c.key, g.loop.Now()+int64(min(g.cfg.Timeout, closeTimeout)))
	b, err := ws.AppendMaskedClose(g.scratch[:0], g.mask(), code, "")
	if err == nil {
		g.scratch = b
		g.write(c, b)
	}
}

// markClosed counts a connection as closed and notifies the behavior.
func (g *generator) markClosed(c *conn, why string) {
	g.totals.Open--
	g.behavior.closed(c, why)
}

// end closes a connection from this side. With CloseGoingAway it does not wait for the server's answer, like a browser
// whose page is closed.
func (g *generator) end(c *conn, code ws.CloseCode) {
	if c.state != stateOpen {
		return
	}
	g.totals.Dropped++
	k := c.key
	g.close(c, code, "closed")
	if code == ws.CloseGoingAway && g.conns.get(k) == c {
		g.release(c)
	}
}

// socketFailed handles the end of the socket.
func (g *generator) socketFailed(c *conn, err error) {
	switch c.state {
	case stateConnecting, stateHead:
		why := cause(err)
		if errors.Is(err, io.EOF) {
			why = "closed before an answer"
		}
		g.fail(c, why)
	case stateRefused:
		g.feedRefusal(c, nil, true)
	case stateOpen:
		g.connectionLost(c, "lost: "+cause(err))
	default:
		g.release(c)
	}
}

// connectionLost ends an open connection that has failed without a close frame.
func (g *generator) connectionLost(c *conn, why string) {
	if c.state == stateOpen {
		count(&g.totals.Closed, strconv.Itoa(int(ws.CloseAbnormal)))
		count(&g.totals.Errors, why)
		g.markClosed(c, why)
	}
	g.release(c)
}

// write sends bytes, and stores what the socket does not take. It does not retain b.
func (g *generator) write(c *conn, b []byte) {
	i := c.key.Index
	if c.bits&bitFull != 0 {
		if len(g.unsent[i]) < maxUnsent {
			g.unsent[i] = append(g.unsent[i], b...)
		}
		return
	}
	n, err := c.sock.Write(b)
	if err != nil && !errors.Is(err, reactor.ErrAgain) {
		g.socketFailed(c, err)
		return
	}
	if n < len(b) {
		c.bits |= bitFull
		g.unsent[i] = bytes.Clone(b[n:])
	}
}

// writable sends the stored bytes.
func (g *generator) writable(c *conn) {
	b := g.unsent[c.key.Index]
	n, err := c.sock.Write(b)
	if err != nil && !errors.Is(err, reactor.ErrAgain) {
		g.socketFailed(c, err)
		return
	}
	if n < len(b) {
		g.unsent[c.key.Index] = b[n:]
		return
	}
	delete(g.unsent, c.key.Index)
	c.bits &^= bitFull
	if c.state == stateOpen {
		g.behavior.writable(c)
	}
}

// mask returns a masking key. RFC 6455 §5.3.
func (g *generator) mask() uint32 { return uint32(g.random.Uint64()) }

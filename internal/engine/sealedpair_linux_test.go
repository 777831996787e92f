package engine

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/secure"
	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// sealing lets the clients of e use TLS 1.3.
func (e *fixture) sealing(t *testing.T, s *secure.Server) {
	t.Helper()
	e.onLoop(func() {
		e.cfg.Source = func(name string) Source { return Source{Name: name, Secure: s.Wrap} }
		for _, source := range e.sources.list {
			source.Secure = s.Wrap
		}
	})
}

// sealedServer returns a server's end of TLS. Its authority is not verified in these tests.
func sealedServer(t *testing.T) *secure.Server {
	t.Helper()
	pair := certtest.New(t).Issue("server", "localhost")
	s, err := secure.NewServer(secure.Config{
		Files: secure.Files{Pairs: []secure.KeyPair{{Cert: pair.Cert, Key: pair.Key}}},
		Loop:  true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startSealedPair is startPair for clients that use TLS.
func startSealedPair(t *testing.T, routes func() map[string]*Route) *pair {
	t.Helper()
	p, s := startPair(t, routes), sealedServer(t)
	p.here.sealing(t, s)
	p.there.sealing(t, s)
	return p
}

// sealedClient is the client's end of TLS after the handshake. It is a net.Conn, and its records may also be made and sent one
// by one, in pieces. It answers no KeyUpdate.
type sealedClient struct {
	*net.TCPConn
	t     *testing.T
	in    *tlsrecord.Reader
	out   *tlsrecord.Writer
	part  []byte // the beginning of a record
	plain []byte
	kinds []tlsrecord.Kind // of the records that have come
}

// secured does the handshake of TLS on the connection of p. It gets no tickets, because it does not offer to resume.
func (p *peer) secured() *sealedClient {
	p.t.Helper()
	c, err := p.shake(p.conn)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// shake does the handshake of TLS over conn, which is the connection of p or has it below.
func (p *peer) shake(conn net.Conn) (*sealedClient, error) {
	var lines bytes.Buffer
	client := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &lines, ServerName: "localhost",
	})
	if err := client.Handshake(); err != nil {
		return nil, err
	}
	secret := func(label string) []byte {
		for line := range strings.Lines(lines.String()) {
			if f := strings.Fields(line); f[0] == label {
				b, _ := hex.DecodeString(f[2])
				return b
			}
		}
		return nil
	}
	suite := client.ConnectionState().CipherSuite
	in, errIn := tlsrecord.NewReader(suite, secret("SERVER_TRAFFIC_SECRET_0"))
	out, errOut := tlsrecord.NewWriter(suite, secret("CLIENT_TRAFFIC_SECRET_0"), 0)
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, err
	}
	c := &sealedClient{TCPConn: p.conn.(*net.TCPConn), t: p.t, in: in, out: out}
	p.conn = c
	return c, nil
}

// dialSealed opens a WebSocket over TLS.
func (e *fixture) dialSealed(t *testing.T, path string) (*peer, *sealedClient) {
	t.Helper()
	p := e.connect(t, "")
	c := p.secured()
	p.write(fmt.Appendf(nil, request, path))
	if head := p.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("handshake: got %q", head)
	}
	return p, c
}

// Read implements net.Conn.
func (c *sealedClient) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		size, err := tlsrecord.Length(c.part)
		if err != nil {
			return 0, err
		}
		if size == 0 || len(c.part) < size {
			buf := make([]byte, 32<<10)
			n, err := c.TCPConn.Read(buf)
			if c.part = append(c.part, buf[:n]...); errors.Is(err, io.EOF) {
				return 0, errNoCloseNotify
			} else if err != nil {
				return 0, err
			}
			continue
		}
		plain, kind, err := c.in.Open(nil, c.part[:size])
		if err != nil {
			return 0, err
		}
		if kind == tlsrecord.Closed {
			return 0, io.EOF
		}
		c.kinds = append(c.kinds, kind)
		c.plain, c.part = plain, c.part[size:]
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

var errNoCloseNotify = errors.New("the server has ended without close_notify")

// Write implements net.Conn.
func (c *sealedClient) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(c.data(p))
	return min(n, len(p)), err
}

// data seals bytes of the application.
func (c *sealedClient) data(p []byte) []byte {
	c.t.Helper()
	b, _, err := c.out.Append(nil, [][]byte{p}, len(p))
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// update seals a KeyUpdate that wants an answer.
func (c *sealedClient) update() []byte {
	c.t.Helper()
	b, err := c.out.AppendKeyUpdate(nil, true)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// alert seals an alert.
func (c *sealedClient) alert(a tlsrecord.Alert) []byte {
	c.t.Helper()
	b, err := c.out.AppendAlert(nil, a)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// raw sends bytes as they are, and waits until the server has read them.
func (c *sealedClient) raw(e *fixture, b []byte) {
	c.t.Helper()
	if _, err := c.TCPConn.Write(b); err != nil {
		c.t.Fatal(err)
	}
	c.taken(e)
}

// taken waits until the loop of e has read everything that c has sent.
func (c *sealedClient) taken(e *fixture) {
	c.t.Helper()
	fd, err := c.SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	for late := time.Now().Add(patience); ; runtime.Gosched() {
		left := 0
		err := fd.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil {
			c.t.Fatal(err)
		}
		if left == 0 {
			e.onLoop(func() {
				for _, conn := range e.conns {
					if conn != nil && conn.sock.FD() >= 0 {
						n, _ := unix.IoctlGetInt(conn.sock.FD(), unix.SIOCINQ)
						left += n
					}
				}
			})
		}
		if left == 0 {
			return
		}
		if time.Now().After(late) {
			c.t.Fatalf("%d bytes are not read", left)
		}
	}
}

// unsealed checks that nothing is left of connections with TLS.
func (p *pair) unsealed() {
	p.t.Helper()
	for _, e := range []*fixture{p.here, p.there} {
		until(p.t, "all connections have ended", func() bool {
			s := e.Stats()
			return s.Connections+s.Handshaking == 0
		})
		if in, out := e.loop.Sealed(); in != 0 || out != 0 {
			p.t.Errorf("%d bytes of records are left, and %d to write", in, out)
		}
		if s := e.Stats(); s.QueueBytes+s.PartialBytes != 0 {
			p.t.Errorf("something is left: %+v", s)
		}
	}
}

var _ net.Conn = (*sealedClient)(nil)

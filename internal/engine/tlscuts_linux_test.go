package engine

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/secure"
	"github.com/expedite-go/expedite/ws"
)

// cutConn sends a stream in two pieces, or byte by byte.
type cutConn struct {
	net.Conn
	first []byte // comes before what is written
	at    int    // the length of the first piece; 0 is one byte at a time
	sent  int
	wait  func(sent int) // until the server has read
}

func (c *cutConn) Write(p []byte) (int, error) {
	b := append(c.first, p...)
	c.first = nil
	for len(b) > 0 {
		n := len(b)
		switch {
		case c.at == 0:
			n = 1
		case c.sent < c.at:
			n = min(n, c.at-c.sent)
		}
		if _, err := c.Conn.Write(b[:n]); err != nil {
			return 0, err
		}
		b = b[n:]
		if c.sent += n; c.sent == c.at || c.at == 0 {
			c.wait(c.sent)
		}
	}
	return len(p), nil
}

// TestHandshakeInPieces: what a client sends in its handshake may be cut at any byte, also behind a PROXY header or
// within it, and so may the first messages.
func TestHandshakeInPieces(t *testing.T) {
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	for i, mode := range []struct {
		name       string
		loop, pump bool
	}{{"loop", true, false}, {"std", false, false}, {"pump", false, true}} {
		server, err := secure.NewServer(secure.Config{
			Files: secure.Files{Pairs: []secure.KeyPair{{Cert: pair.Cert, Key: pair.Key}}},
			Loop:  mode.loop, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, header := range map[string]string{
			"": "", "v1": proxy1("192.0.2.1:5000"), "v2": proxy2("192.0.2.1:5000", tlsField),
		} {
			t.Run(mode.name+" "+name, func(t *testing.T) {
				t.Parallel()
				source := Source{Secure: server.Wrap}
				if header != "" {
					source.Proxies = behindHeader(t)
				}
				cfg := portable(mode.pump)
				cfg.Source = func(string) Source { return source }
				f := start(t, cfg, map[string]*Route{"/": {Inline: true, Handler: echo}})
				whole := f.inPieces(t, a, header, 0)
				for at := 1; at < whole; at++ {
					if at > len(header)+6 && at%3 != i { // each of these bytes with one of the modes
						continue
					}
					if f.inPieces(t, a, header, at); t.Failed() {
						t.Fatalf("cut at %d of %d", at, whole)
					}
				}
			})
		}
	}
}

// inPieces opens a WebSocket and sends a message, in pieces. It returns how many bytes it has sent.
func (f *fixture) inPieces(t *testing.T, a *certtest.Authority, header string, at int) (sent int) {
	t.Helper()
	p := f.connect(t, "")
	before := f.Stats().BytesIn
	cut := &cutConn{Conn: p.conn, first: []byte(header), at: at, wait: func(sent int) {
		until(t, "it was read", func() bool { return f.Stats().BytesIn >= before+uint64(min(sent, len(header))) })
	}}
	client := tls.Client(cut, &tls.Config{
		RootCAs: a.Pool, ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.X25519},
	})
	defer client.Close()
	message := ws.AppendMaskedFrame(nil, ws.OpText, 1, []byte("hello"))
	if _, err := client.Write(append(fmt.Appendf(nil, request, "/"), message...)); err != nil {
		t.Errorf("the request: %v", err)
		return 0
	}
	var got []byte
	for want := []byte("\r\n\r\n\x81\x05hello"); !bytes.HasSuffix(got, want); {
		b := make([]byte, 1000)
		n, err := client.Read(b)
		if got = append(got, b[:n]...); err != nil && (err != io.EOF || n == 0) {
			t.Errorf("got %q, %v", got, err)
			return 0
		}
	}
	return cut.sent
}

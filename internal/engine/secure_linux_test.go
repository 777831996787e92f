package engine

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/secure"
	"github.com/expedite-go/expedite/ws"
)

// TestTurnedAwayBeforeTLS: a client beyond a limit that applies before TLS is closed without an answer, which it could
// not read, also behind a PROXY header.
func TestTurnedAwayBeforeTLS(t *testing.T) {
	limits := map[string]Config{"per_address": {MaxPerAddress: 1}, "connect_rate": {ConnectRate: rarely(1)}}
	for name, header := range map[string]string{"directly": "", "behind a header": proxy1("192.0.2.1:5000")} {
		for limit, cfg := range limits {
			t.Run(name+", "+limit, func(t *testing.T) {
				begun := make(chan struct{}, 2)
				source := Source{Secure: func(conn net.Conn, _ []byte) net.Conn {
					begun <- struct{}{}
					return conn
				}}
				if header != "" {
					source.Proxies = behindHeader(t)
				}
				cfg.HandshakeTimeout, cfg.Source = time.Minute, func(string) Source { return source }
				f := start(t, cfg, nil)
				first, second := f.connect(t, header), f.connect(t, header)
				until(t, "one of them is closed", func() bool { return f.Stats().Limits[limit] == 1 })
				ended := make(chan string, 2)
				for _, p := range []*peer{first, second} {
					go func() { // ends with the connection
						b := make([]byte, 100)
						n, err := p.conn.Read(b)
						ended <- fmt.Sprintf("%s%v", b[:n], err)
					}()
				}
				if got := <-ended; got != "EOF" {
					t.Errorf("got %q, want the end", got)
				}
				for _, p := range []*peer{first, second} { // it begins with the first byte
					_, _ = p.conn.Write([]byte{tlsHandshake}) // one of them is closed
				}
				until(t, "TLS has begun", func() bool { return len(begun) > 0 })
				if len(begun) != 1 {
					t.Errorf("TLS has begun %d times, want once", len(begun))
				}
			})
		}
	}
}

// TestSealedStates: a connection with TLS never continues without its keys, in the clear.
func TestSealedStates(t *testing.T) {
	for _, c := range []struct {
		via    via
		sealed bool
	}{{0, false}, {viaSecure, true}, {viaSecure, false}, {0, true}} {
		b := append(record.AppendHeader([]byte{StateVersion}, tagPhase, 1), byte(phaseHead))
		b = append(record.AppendHeader(b, tagVia, 1), byte(c.via))
		if c.sealed {
			b = record.Append(b, tagTLS, "x")
		}
		if _, err := parseState(b); (err == nil) != (c.sealed == (c.via != 0)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestSealedBudget: what clients hold by stopping amidst records, or by not reading them, counts in the limits of all
// connections together. They have to go before others lose a message.
func TestSealedBudget(t *testing.T) {
	const budget, clients = 128 << 10, 12
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	server, err := secure.NewServer(secure.Config{
		Files: secure.Files{Pairs: []secure.KeyPair{{Cert: pair.Cert, Key: pair.Key}}},
		Loop:  true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan *Conn, clients)
	f := start(t, Config{
		MaxQueued: budget, MaxPartial: budget, Source: func(string) Source { return Source{Secure: server.Wrap} },
	}, map[string]*Route{"/": {
		Inline: true, Handler: funcs{open: func(c *Conn) { opened <- c }}, QueueLimit: 1 << 30, Policy: PolicyDropNewest,
	}})
	dial := func() *tls.Conn {
		t.Helper()
		client := tls.Client(f.connect(t, "").conn, &tls.Config{RootCAs: a.Pool, ServerName: "localhost"})
		if _, err := fmt.Fprintf(client, request, "/"); err != nil {
			t.Fatal(err)
		}
		return client
	}
	for range clients { // they read nothing
		dial()
		c := <-opened
		until(t, "a record waits", func() bool {
			f.onLoop(func() { c.Send(ws.OpBinary, make([]byte, 64<<10)) })
			var waits bool
			f.onLoop(func() { waits = c.phase.Load() != phaseOpen || c.sock.Waits() })
			return waits
		})
	}
	if _, leaving := f.loop.Sealed(); leaving > budget {
		t.Errorf("%d bytes wait to leave, want at most %d", leaving, budget)
	}
	if f.Stats().Limits["queued"] == 0 {
		t.Error("the limit of queues was not reached")
	}
	for range clients { // they stop amidst a record
		client := dial()
		c := <-opened
		raw := client.NetConn()
		if _, err := raw.Write(append([]byte{23, 3, 3, 0x40, 0x11}, make([]byte, 16<<10)...)); err != nil {
			t.Fatal(err)
		}
		until(t, "a part of a record is held", func() (held bool) {
			f.onLoop(func() { held = c.phase.Load() != phaseOpen || c.sock.Holds() })
			return held
		})
	}
	if arriving, _ := f.loop.Sealed(); arriving > budget+16<<10 {
		t.Errorf("%d bytes are parts of records, want at most %d", arriving, budget)
	}
	if f.Stats().Limits["partial"] == 0 {
		t.Error("the limit of partial input was not reached")
	}
}

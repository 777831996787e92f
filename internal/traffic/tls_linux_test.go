package traffic

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// TestReloadUnderTLS replaces workers repeatedly while clients with TLS 1.3 verify every byte: their connections move,
// at any byte of a record, as those without TLS do.
func TestReloadUnderTLS(t *testing.T) {
	clients := 400
	if raceEnabled {
		clients = 80
	}
	reloadsUnder(t, clients, expedite.CompressionOff, secured)
}

// TestReloadUnderCompressedTLS does the same with permessage-deflate.
func TestReloadUnderCompressedTLS(t *testing.T) {
	clients := 200
	if raceEnabled {
		clients = 80
	}
	reloadsUnder(t, clients, expedite.CompressionTakeover, secured)
}

// TestReloadAndKindsOfTLS: connections with TLS 1.2 or with crypto/tls for all records cannot move. A reload closes them
// with 1012 within --drain-timeout, and tells how many and why. Those that have presented a certificate move.
func TestReloadAndKindsOfTLS(t *testing.T) {
	for name, of := range map[string]struct {
		change func(a *certtest.Authority, server *serverConfig, client *tls.Config)
		stays  bool
	}{
		"TLS 1.2": {func(_ *certtest.Authority, _ *serverConfig, client *tls.Config) {
			client.MaxVersion = tls.VersionTLS12
		}, true},
		"standard": {func(_ *certtest.Authority, server *serverConfig, _ *tls.Config) { server.Standard = true }, true},
		"mutual": {func(a *certtest.Authority, server *serverConfig, client *tls.Config) {
			server.ClientCA = a.CA
			client.Certificates = []tls.Certificate{a.Issue("client", "client.test").TLS}
		}, false},
		"mutual, TLS 1.2": {func(a *certtest.Authority, server *serverConfig, client *tls.Config) {
			server.ClientCA = a.CA
			client.Certificates = []tls.Certificate{a.Issue("client", "client.test").TLS}
			client.MaxVersion = tls.VersionTLS12
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serverConfig{Workers: 2}
			a, client := authorized(t, &server)
			of.change(a, &server, client)
			s := launch(t, "", server)
			const clients = 20
			ends := make(chan error, clients)
			for range clients {
				go func() { ends <- s.stayUntilClosed(client) }() // ends with the connection
			}
			until(t, "all are connected", func() bool { return s.status().Totals.Connections == clients })
			res, err := s.reload(control.ReloadRequest{})
			want := control.Result{Moved: clients}
			if of.stays {
				want = control.Result{Drained: clients, DrainedWhy: map[string]uint64{"no_descriptor": clients}}
			}
			if err != nil || res.Drained != want.Drained || res.Moved != want.Moved || res.Failed != 0 ||
				!maps.Equal(res.DrainedWhy, want.DrainedWhy) {
				t.Errorf("got %+v, %v, want %+v", res, err, want)
			}
			if of.stays {
				for range clients {
					if err := <-ends; err != nil {
						t.Error(err)
					}
				}
			} else if n := s.status().Totals.Connections; n != clients {
				t.Errorf("%d are connected, want %d", n, clients)
			}
			s.end()
		})
	}
}

// stayUntilClosed opens a WebSocket, and returns an error unless the server closes it with 1012.
func (s *server) stayUntilClosed(client *tls.Config) error {
	nc, err := tls.Dial("tcp", s.addr, client)
	if err != nil {
		return err
	}
	defer nc.Close()
	l := &link{nc: nc, gone: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
	if err := l.handshake(s.addr, "/echo", cut{}); err != nil {
		return err
	}
	var code ws.CloseCode
	err = l.listen(nil, func(ev ws.Event) {
		if ev.Kind == ws.KindClose {
			code = ev.Code
			_ = l.close(code)
		}
	})
	if code != ws.CloseServiceRestart {
		return fmt.Errorf("closed with %d, want 1012: %w", code, err)
	}
	return nil
}

// TestReloadAmidStalledHandshakes: handshakes that never end do not keep a reload from its end, nor the replacement of
// the primary and the end of the server. Others are served meanwhile.
func TestReloadAmidStalledHandshakes(t *testing.T) {
	cfg := serverConfig{Workers: 2, Handshake: 3 * time.Second}
	client := secured(t, &cfg)
	s := launch(t, "", cfg)
	stall := func() (open []net.Conn) {
		for i := range 30 {
			nc, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = nc.Close() })
			open = append(open, nc)
			if i%3 == 0 {
				continue // nothing is sent
			}
			go func() { // ends with the connection
				_ = tls.Client(&halfway{Conn: nc, writes: i % 3}, client).Handshake()
			}()
		}
		return open
	}
	for range 2 {
		open := stall()
		reloaded := make(chan struct{})
		go func() {
			defer close(reloaded)
			if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Drained != 0 {
				t.Errorf("reload: %+v, %v", res, err)
			}
		}()
		served := false
		for wait := true; wait; {
			select {
			case <-reloaded:
				wait = false
			case <-time.After(20 * time.Millisecond):
				nc, err := tls.Dial("tcp", s.addr, client)
				if err == nil {
					served = true
					_ = nc.Close()
				}
			}
		}
		if !served {
			t.Error("nobody was served meanwhile")
		}
		for _, nc := range open {
			if err := nc.SetReadDeadline(time.Now().Add(forever)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a handshake that has stopped does not end")
			}
		}
	}
	stall()
	s.end()
}

// halfway loses what is written after the first writes.
type halfway struct {
	net.Conn
	writes int
}

func (c *halfway) Write(p []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestTicketsSurviveReloads: a client resumes its session of TLS at all workers, of each generation, also after the
// primary has replaced its program.
func TestTicketsSurviveReloads(t *testing.T) {
	cfg := serverConfig{Workers: 2}
	client := secured(t, &cfg)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	s := launch(t, "", cfg)
	first := true
	for reloads := range 4 {
		for visit := range 6 {
			nc, err := tls.Dial("tcp", s.addr, client)
			if err != nil {
				t.Fatal(err)
			}
			l := &link{nc: nc, gone: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
			if err := l.handshake(s.addr, "/echo", cut{}); err != nil { // its answer comes behind a ticket
				t.Fatal(err)
			}
			if got := nc.ConnectionState().DidResume; got == first {
				t.Errorf("visit %d after %d reloads: resumed: %t", visit, reloads, got)
			}
			first = false
			reset(nc.NetConn())
		}
		if _, err := s.reload(control.ReloadRequest{KeepPrimary: reloads == 0}); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
}

// secured gives a server a certificate, and returns what its clients need.
func secured(t *testing.T, c *serverConfig) *tls.Config {
	t.Helper()
	_, client := authorized(t, c)
	return client
}

// authorized is secured, and also returns the authority.
func authorized(t *testing.T, c *serverConfig) (*certtest.Authority, *tls.Config) {
	t.Helper()
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	c.Cert, c.Key = []string{pair.Cert}, []string{pair.Key}
	return a, &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1"}
}

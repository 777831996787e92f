package traffic

import (
	"crypto/tls"
	"math/rand/v2"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/control"
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

// TestReloadDrainsTLS12: connections with TLS 1.2 cannot move. A reload closes them, and tells how many.
func TestReloadDrainsTLS12(t *testing.T) {
	cfg := serverConfig{Workers: 2}
	client := secured(t, &cfg)
	client.MaxVersion = tls.VersionTLS12
	s := launch(t, "", cfg)
	const clients = 20
	for range clients {
		nc, err := tls.Dial("tcp", s.addr, client)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		l := &link{nc: nc, gone: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
		if err := l.handshake(s.addr, "/echo", cut{}); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the connection
			_, _ = nc.Read(make([]byte, 100)) // the close frame
			_ = nc.Close()
		}()
	}
	res, err := s.reload(control.ReloadRequest{})
	if err != nil || res.Drained != clients || res.Moved != 0 {
		t.Errorf("got %+v, %v, want %d drained", res, err, clients)
	}
	s.end()
}

// secured gives a server a certificate, and returns what its clients need.
func secured(t *testing.T, c *serverConfig) *tls.Config {
	t.Helper()
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	c.Cert, c.Key = []string{pair.Cert}, []string{pair.Key}
	return &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1"}
}

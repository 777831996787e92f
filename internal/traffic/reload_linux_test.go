package traffic

import (
	"crypto/tls"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

// TestReloadUnderTraffic replaces workers repeatedly while clients of all kinds verify every byte.
func TestReloadUnderTraffic(t *testing.T) { reloadsUnder(t, 1000, expedite.CompressionOff, nil) }

// TestReloadUnderCompressedTraffic does the same while each client has other parameters of permessage-deflate.
func TestReloadUnderCompressedTraffic(t *testing.T) {
	for _, c := range []expedite.Compression{expedite.CompressionShared, expedite.CompressionTakeover} {
		clients := 400
		if raceEnabled {
			clients = 80
		}
		t.Run(c.String(), func(t *testing.T) { reloadsUnder(t, clients, c, nil) })
	}
}

// reloadsUnder reloads under the traffic of clients. secure, unless it is nil, gives the server a certificate.
func reloadsUnder(
	t *testing.T, clients int, compression expedite.Compression, secure func(*testing.T, *serverConfig) *tls.Config,
) {
	server, client := serverConfig{Workers: 2, Compression: compression}, (*tls.Config)(nil)
	if secure != nil {
		client = secure(t, &server)
	}
	s := launch(t, "", server)
	cfg := Mix(s.addr, clients)
	cfg.TLS = client
	cfg.Compression = compression != expedite.CompressionOff
	run := s.crowd(cfg)
	total := uint64(0)
	for i := range 10 {
		res, err := s.reload(control.ReloadRequest{})
		if err != nil {
			t.Fatalf("reload %d: %v", i+1, err)
		}
		t.Logf("reload %d: %+v", i+1, res)
		if res.Failed+res.Drained != 0 || res.Moved < uint64(clients) {
			t.Errorf("reload %d: %+v, want at least %d moved, none drained, none failed", i+1, res, clients)
		}
		total += res.Moved
	}
	r := s.finish(run)
	t.Logf("%d moves; %+v", total, r)
	if n := s.status().Totals.Compressed; (n != nil && n.MessagesIn > 100 && n.MessagesOut > 100) != cfg.Compression {
		t.Errorf("compressed messages: %+v", n)
	}
	s.end()
	opens, closes, err := CheckAudit(s.audit)
	if err != nil || opens != closes {
		t.Errorf("%d callbacks of Open, %d of Close: %v", opens, closes, err)
	}
}

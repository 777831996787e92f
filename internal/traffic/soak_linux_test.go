package traffic

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

var (
	soak     = flag.Duration("soak", 0, "duration of TestSoak")
	soakSize = flag.Int("soak-clients", 2000, "number of clients in TestSoak")
	soakTLS  = flag.Bool("soak-tls", false, "the clients of TestSoak use TLS and permessage-deflate")
)

// TestSoak runs reloads, scales and rebalances in random order for the given duration, with clients that verify every
// byte.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("run it with make soak")
	}
	server, cfg := serverConfig{Workers: 2}, Mix("", *soakSize)
	if *soakTLS {
		cfg.TLS, cfg.Compression, server.Compression = secured(t, &server), true, expedite.CompressionTakeover
	}
	s := launch(t, "", server)
	run := s.crowd(cfg)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	moved, rounds := uint64(0), 0
	for end := time.Now().Add(*soak); time.Now().Before(end); rounds++ {
		var res control.Result
		var err error
		switch rng.IntN(4) {
		case 0:
			res, err = s.scale(1 + rng.IntN(5))
		case 1:
			res, err = s.rebalance()
		default:
			res, err = s.reload(control.ReloadRequest{KeepPrimary: rng.IntN(2) == 0})
		}
		if err != nil || res.Failed+res.Drained != 0 {
			t.Fatalf("round %d: %+v, %v", rounds, res, err)
		}
		moved += res.Moved
		if err := run.Snapshot().Err(); err != nil {
			t.Errorf("round %d: %v", rounds, err)
			break
		}
	}
	r := s.finish(run)
	t.Logf("%d rounds, %d moves, %+v", rounds, moved, r)
	s.end()
	opens, closes, err := CheckAudit(s.audit)
	if err != nil || opens != closes {
		t.Errorf("%d callbacks of Open, %d of Close: %v", opens, closes, err)
	}
}

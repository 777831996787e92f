package traffic

import (
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// TestReloadUnderTraffic replaces workers repeatedly while clients of all kinds verify every byte.
func TestReloadUnderTraffic(t *testing.T) {
	s := launch(t, "", serverConfig{Workers: 2})
	run := s.crowd(Mix(s.addr, 1000))
	total := uint64(0)
	for i := range 10 {
		res, err := s.reload(control.ReloadRequest{})
		if err != nil {
			t.Fatalf("reload %d: %v", i+1, err)
		}
		t.Logf("reload %d: %+v", i+1, res)
		if res.Failed+res.Drained != 0 || res.Moved < 1000 {
			t.Errorf("reload %d: %+v, want at least 1000 moved, none drained, none failed", i+1, res)
		}
		total += res.Moved
	}
	r := s.finish(run)
	t.Logf("%d moves; %+v", total, r)
	s.end()
	opens, closes, err := CheckAudit(s.audit)
	if err != nil || opens != closes {
		t.Errorf("%d callbacks of Open, %d of Close: %v", opens, closes, err)
	}
}

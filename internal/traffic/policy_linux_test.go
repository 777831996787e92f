package traffic

import (
	"testing"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
)

// TestReloadUnderPolicies checks that new clients can always connect while workers are replaced, added and removed,
// under every policy for distributing connections.
func TestReloadUnderPolicies(t *testing.T) {
	t.Parallel()
	for _, policy := range []cluster.Policy{cluster.RoundRobin, cluster.LeastConnections, cluster.None} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			s := launch(t, "", serverConfig{Workers: 2, Scheduling: policy})
			// At this rate, short connections follow each other closely.
			run := s.crowd(Config{Small: 40, Churn: 24, Seed: 4, Rate: 50})
			for _, workers := range []int{0, 0, 3, 0, 1, 0, 2, 0} { // 0 means a reload
				came := run.Snapshot().Churned
				if workers > 0 {
					s.scaled(workers)
				} else if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Failed+res.Drained != 0 {
					t.Errorf("reload: got %+v, %v, want none failed", res, err)
				}
				until(t, "connections after a reload", func() bool { return run.Snapshot().Churned > came+24 })
			}
			s.finish(run)
			s.audited()
		})
	}
}

package cluster

import (
	"sync"
	"testing"
)

// TestRollCountsAllThatIsLost: a roll counts the lost connections of workers in other slots, too.
func TestRollCountsAllThatIsLost(t *testing.T) {
	for name, tt := range map[string]struct {
		slot int // of the worker that is killed when slot 1 starts a new one
	}{
		"nobody":                      {0},
		"the worker of another slot":  {3},
		"the worker that is replaced": {1},
		"the worker of the next slot": {2},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, Config{Workers: 3, Listen: anyPort}, "move")
			failed := g.settle(g.dialSome(15))[tt.slot]
			killed := g.Workers()
			kill := sync.OnceFunc(func() {
				if tt.slot > 0 {
					w := killed[tt.slot-1]
					_ = w.Kill(9)
					<-w.Done()
				}
			})
			res, err := g.Reload(t.Context(), RollOptions{Progress: func(p Progress) {
				if p.Step == StepStarting {
					kill()
				}
			}})
			if err != nil {
				t.Error(err)
			}
			if res.Failed != failed {
				t.Errorf("%d failed, want %d; moved %d", res.Failed, failed, res.Moved)
			}
			if got := g.Stats().ConnectionsLost; got != uint64(failed) {
				t.Errorf("%d lost, want %d", got, failed)
			}
		})
	}
}

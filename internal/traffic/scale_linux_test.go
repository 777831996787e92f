package traffic

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
)

// evenly waits until n connections are spread over the given number of workers, each within 5 % of the mean. slack
// allows for further connections that come and go meanwhile. It polls because reports are up to a second old.
func (s *server) evenly(workers, n, slack int) {
	s.t.Helper()
	mean := float64(n) / float64(workers)
	room := 0.05*mean + float64(slack)
	until(s.t, fmt.Sprintf("%d connections evenly on %d workers", n, workers), func() bool {
		st := s.status()
		if len(st.Workers) != workers || math.Abs(float64(st.Totals.Connections)-float64(n)) > float64(slack) {
			return false
		}
		for _, w := range st.Workers {
			if math.Abs(float64(w.Connections)-mean) > room {
				return false
			}
		}
		return true
	})
}

// scaled scales to the given number of workers. It fails the test if any connection fails or is drained.
func (s *server) scaled(workers int) control.Result {
	s.t.Helper()
	res, err := s.scale(workers)
	if err != nil || res.Failed+res.Drained != 0 || res.Workers != workers {
		s.t.Errorf("scale to %d: got %+v, %v, want none failed and none drained", workers, res, err)
	}
	return res
}

// TestScaleUnderTraffic checks that no client notices when workers are added or removed and connections move between
// them.
func TestScaleUnderTraffic(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2})
	cfg := Mix(s.addr, 300)
	run := s.crowd(cfg)
	for _, tt := range []struct {
		workers int
		least   uint64 // expected number of moves, except for churn
	}{
		{5, 300 * 3 / 5}, {1, 300 * 4 / 5}, {3, 300 * 2 / 3},
	} {
		if res := s.scaled(tt.workers); float64(res.Moved) < 0.9*float64(tt.least) {
			t.Errorf("scale to %d: got %d moved, want about %d", tt.workers, res.Moved, tt.least)
		}
		s.evenly(tt.workers, 300, cfg.Churn)
	}
	s.finish(run)
	s.audited()
}

// TestScaleOfUnevenCluster checks that a worker with all connections shares them with new workers.
func TestScaleOfUnevenCluster(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	f := s.echoers(400)
	if res := s.scaled(2); res.Moved < 190 || res.Moved > 210 {
		t.Errorf("got %d moved, want half of 400", res.Moved)
	}
	s.evenly(2, 400, 0)
	f.all()
}

// bornIn returns the slot in which a connection was opened, according to its id, the first message of /user.
func (c *caller) bornIn(t *testing.T) int {
	t.Helper()
	m, err := c.hear()
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.ParseUint(m, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(id >> 54)
}

// TestRebalance checks that of two workers, one with nine tenths of all connections ends up with half of them.
func TestRebalance(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2, Scheduling: cluster.RoundRobin})
	f := s.call(400, func(int) string { return pathUser })
	left := make(map[int]int)
	for _, c := range f.list {
		slot := c.bornIn(t)
		if slot == 2 && left[2] == 20 {
			_ = c.nc.Close()
			continue
		}
		left[slot]++
	}
	n := left[1] + left[2]
	s.settled(n)
	res, err := s.rebalance()
	want := (left[1] - left[2]) / 2
	if err != nil || res.Failed+res.Drained != 0 || math.Abs(float64(int(res.Moved)-want)) > 10 {
		t.Errorf("%d and %d connections: got %+v, %v, want about %d moved", left[1], left[2], res, err, want)
	}
	s.evenly(2, n, 0)
	if res, err := s.rebalance(); err != nil || res.Moved != 0 {
		t.Errorf("once more: got %+v, %v, want none moved", res, err)
	}
}

// TestDirectedFollow checks that messages reach a connection, in order, after it has left the slot in which it was
// opened. This includes the cases that the slot is gone or belongs to another worker.
func TestDirectedFollow(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 3})
	run := s.crowd(Config{Directed: 60, Seed: 3, Rate: 40})
	steps := []func() (control.Result, error){
		func() (control.Result, error) { return s.scale(1) },
		func() (control.Result, error) { return s.reload(control.ReloadRequest{}) },
		func() (control.Result, error) { return s.scale(4) },
		s.rebalance,
		func() (control.Result, error) { return s.reload(control.ReloadRequest{}) },
		func() (control.Result, error) { return s.scale(2) },
		func() (control.Result, error) { return s.reload(control.ReloadRequest{}) },
	}
	for i, step := range steps {
		heard := run.Snapshot().Directed
		if res, err := step(); err != nil || res.Failed+res.Drained != 0 {
			t.Errorf("step %d: got %+v, %v, want none failed", i, res, err)
		}
		until(t, "messages after a step", func() bool { return run.Snapshot().Directed > heard+100 })
	}
	s.finish(run)
	s.audited()
}

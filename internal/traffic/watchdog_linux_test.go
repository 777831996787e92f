package traffic

import (
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// awaitStatus polls the status until ok accepts it, and returns that status.
func (s *server) awaitStatus(what string, ok func(control.Status) bool) (st control.Status) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(forever)
	for {
		if st = s.status(); ok(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("timed out waiting until %s: %+v", what, st)
		}
	}
}

// TestWorkerThatOutgrowsItsMemoryIsReplaced checks that the connections of a worker that exceeds its memory limit move
// unnoticed to a new worker.
func TestWorkerThatOutgrowsItsMemoryIsReplaced(t *testing.T) {
	s := launch(t, "", serverConfig{Workers: 1, Memory: 1 << 20})
	run := s.crowd(Mix(s.addr, 100))
	// The first replacement may come before all clients have connected; the next one follows after a pause.
	st := s.awaitStatus("the worker was replaced", func(st control.Status) bool {
		return len(st.Workers) == 1 && st.Workers[0].Generation > 1 && st.Handoff.Moved >= 100
	})
	if st.Handoff.Failed+st.Handoff.Drained != 0 || st.Totals.Restarts != 0 {
		t.Errorf("%+v, %d restarts", st.Handoff, st.Totals.Restarts)
	}
	s.finish(run)
}

// TestWorkerThatHangsIsReplaced checks that a stopped worker is killed and replaced.
func TestWorkerThatHangsIsReplaced(t *testing.T) {
	s := launch(t, "", serverConfig{Workers: 2, Hang: 8 * time.Second})
	st := s.awaitStatus("both have reported", func(st control.Status) bool {
		return len(st.Workers) == 2 && st.Workers[0].RSSBytes > 0 && st.Workers[1].RSSBytes > 0
	})
	hung := st.Workers[0].PID
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	st = s.awaitStatus("the worker was replaced", func(st control.Status) bool {
		return len(st.Workers) == 2 && st.Workers[0].PID != hung && st.Workers[0].State == control.StateReady
	})
	if st.Workers[1].Generation != 1 || st.Totals.Restarts != 1 {
		t.Errorf("the other worker is of generation %d, %d restarts", st.Workers[1].Generation, st.Totals.Restarts)
	}
	s.finish(s.crowd(Mix(s.addr, 50)))
}

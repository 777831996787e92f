package traffic

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/control"
)

const (
	// many connections take long enough to move for a test to interfere.
	many = 3000
	// some of the connections have moved when the test interferes.
	some = 200
	// tries limits how often the test repeats a move that ended too soon.
	tries = 5
	// shortStall is how long a successor may make no progress. One that is healthy may stand still on a slow machine.
	shortStall = 4 * time.Second
)

// strike sends a signal to a process of the server under test.
func strike(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// disturbed calls f during a reload, once some connections have moved. It retries until the reload fails or loses
// connections, and returns its outcome and the two worker processes.
func (s *server) disturbed(f func(old, next int)) (end rolled, old, next int) {
	s.t.Helper()
	// The primary counts what is lost by the worker's last report, which may not have those that have just come. A move
	// makes its number exact.
	s.settled(many)
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved != many {
		s.t.Fatalf("an undisturbed reload: got %+v, %v, want %d moved", res, err, many)
	}
	for range tries {
		s.settled(many)
		reload := s.reloading(control.ReloadRequest{})
		old, next = s.pair()
		if s.under(next, some) {
			f(old, next)
		}
		if end = <-reload; end.err != nil || end.Failed > 0 || end.Moved != many {
			return end, old, next
		}
	}
	s.t.Fatalf("%d moves ended before the test could interfere", tries)
	return end, old, next
}

// served fails the test unless n connections are alive, all in the only worker, pid (0 means any), and the next reload
// moves all of them.
func (s *server) served(f *callers, n, pid int) {
	s.t.Helper()
	if got := f.alive(); got != n {
		s.t.Errorf("%d connections are alive, want %d", got, n)
	}
	st := s.settled(n)
	if len(st.Workers) != 1 || (pid != 0 && st.Workers[0].PID != pid) || st.Workers[0].State != control.StateReady {
		s.t.Errorf("got %v, want only process %d, ready", lives(st), pid)
	}
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved != uint64(n) || res.Failed+res.Drained != 0 {
		s.t.Errorf("the next reload: got %+v, %v, want %d moved", res, err, n)
	}
	if got := f.alive(); got != n {
		s.t.Errorf("%d connections are alive after the next reload, want %d", got, n)
	}
}

// TestSuccessorKilled checks that a dying successor loses only the connections that it had acknowledged. The others
// stay in the old worker.
func TestSuccessorKilled(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	f := s.echoers(many)
	end, old, next := s.disturbed(func(_, next int) { strike(t, next, syscall.SIGKILL) })
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "move failed") {
		t.Errorf("got %v, want a failed move", end.err)
	}
	moved := s.movedBeforeFailure()
	if moved == 0 || moved == many {
		t.Errorf("%d had moved, want some", moved)
	}
	s.gonePIDs([]int{next})
	s.served(f, many-moved, old)
}

// TestPredecessorKilled checks that if the old worker dies, the new one keeps what it has received and takes the slot.
func TestPredecessorKilled(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	f := s.echoers(many)
	end, old, next := s.disturbed(func(old, _ int) { strike(t, old, syscall.SIGKILL) })
	if end.err != nil || end.Moved == 0 || end.Failed == 0 || end.Moved+end.Failed != many {
		t.Errorf("got %+v, want some of %d moved, and the rest failed", end, many)
	}
	s.gonePIDs([]int{old})
	s.served(f, int(end.Moved), next)
}

// TestSuccessorStopped checks that a successor that stops responding, even to a request to return its connections, is
// killed. Only the connections that it had acknowledged are lost.
func TestSuccessorStopped(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1, Stall: shortStall})
	f := s.echoers(many)
	end, old, next := s.disturbed(func(_, next int) { strike(t, next, syscall.SIGSTOP) })
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "no progress") {
		t.Errorf("got %v, want no progress", end.err)
	}
	moved := s.movedBeforeFailure()
	if moved == 0 || moved == many {
		t.Errorf("%d had moved, want some", moved)
	}
	s.gonePIDs([]int{next})
	s.served(f, many-moved, old)
}

// TestSuccessorStoppedAtFirst checks that a successor that stops before the move loses no connection.
func TestSuccessorStoppedAtFirst(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1, Stall: shortStall})
	cfg := Mix(s.addr, 100)
	cfg.Churn = 0 // a new client might connect to the successor and be lost with it
	run := s.crowd(cfg)
	// The canary phase leaves time to stop the successor between its start and the move.
	reload := s.reloading(control.ReloadRequest{CanarySeconds: 1})
	old, next := s.pair()
	until(t, "a successor that serves", func() bool { return s.stateOf(next) == control.StateReady })
	strike(t, next, syscall.SIGSTOP)
	end := <-reload
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "no progress") {
		t.Errorf("got %v, want no progress", end.err)
	}
	if moved := s.movedBeforeFailure(); moved != 0 {
		t.Errorf("%d had moved, want none", moved)
	}
	s.gonePIDs([]int{next})
	if st := s.status(); len(st.Workers) != 1 || st.Workers[0].PID != old {
		t.Errorf("got %v, want only process %d", lives(st), old)
	}
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved < 100 || res.Failed+res.Drained != 0 {
		t.Errorf("the next reload: got %+v, %v, want at least 100 moved", res, err)
	}
	s.finish(run)
	s.audited()
}

// stateOf returns the state of the worker with process id pid, or "" if there is none.
func (s *server) stateOf(pid int) control.State {
	for _, w := range s.status().Workers {
		if w.PID == pid {
			return w.State
		}
	}
	return ""
}

// TestSuccessorRefuses checks that a successor that runs out of descriptors during the move returns its connections,
// and no client notices.
func TestSuccessorRefuses(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	f := s.echoers(many - 100)
	cfg := Mix(s.addr, 100)
	cfg.Churn = 0
	run := s.crowd(cfg)
	end, old, next := s.disturbed(func(_, next int) {
		limit := unix.Rlimit{Cur: some, Max: some}
		if err := unix.Prlimit(next, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
	})
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "too many open files") {
		t.Errorf("got %v, want too many open files", end.err)
	}
	if moved := s.movedBeforeFailure(); moved != 0 {
		t.Errorf("%d moved and were not returned, want none", moved)
	}
	s.gonePIDs([]int{next})
	f.all()
	s.finish(run)
	s.served(f, many-100, old)
	f.hangUp()
	s.settled(0)
	s.audited()
}

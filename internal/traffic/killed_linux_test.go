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
	// many connections take so long to move that something can be done meanwhile.
	many = 3000
	// some of them have moved when it is done.
	some = 200
	// tries bounds how often a move is begun anew that was over too soon to be disturbed.
	tries = 5
)

// strike sends a signal to a worker of this test's server.
func strike(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// disturbed reloads until f, which is called when some connections have moved, has made a reload different: failed, or
// with losses. It returns the processes of that time.
func (s *server) disturbed(f func(old, next int)) (end rolled, old, next int) {
	s.t.Helper()
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
	s.t.Fatalf("%d moves were over before they could be disturbed", tries)
	return end, old, next
}

// served wants n connections to live, all in the one worker pid (0 is any), and the next reload to move them all.
func (s *server) served(f *callers, n, pid int) {
	s.t.Helper()
	if got := f.alive(); got != n {
		s.t.Errorf("%d connections live, want %d", got, n)
	}
	st := s.settled(n)
	if len(st.Workers) != 1 || (pid != 0 && st.Workers[0].PID != pid) || st.Workers[0].State != control.StateReady {
		s.t.Errorf("got %v, want process %d only, ready", lives(st), pid)
	}
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved != uint64(n) || res.Failed+res.Drained != 0 {
		s.t.Errorf("the next reload: got %+v, %v, want %d moved", res, err, n)
	}
	if got := f.alive(); got != n {
		s.t.Errorf("%d connections live after the next reload, want %d", got, n)
	}
}

// TestSuccessorKilled: a successor that dies takes along what it had acknowledged; the rest stays where it was.
func TestSuccessorKilled(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	f := s.echoers(many)
	end, old, next := s.disturbed(func(_, next int) { strike(t, next, syscall.SIGKILL) })
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "move failed") {
		t.Errorf("got %v, want that the move failed", end.err)
	}
	moved := s.movedBeforeFailure()
	if moved == 0 || moved == many {
		t.Errorf("%d had moved, want some", moved)
	}
	s.gonePIDs([]int{next})
	s.served(f, many-moved, old)
}

// TestPredecessorKilled: if the old worker dies, the new one goes on with what had been sent to it, and has the slot.
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

// TestSuccessorStopped: a successor that answers nothing, not even that all shall come back, is killed. Nothing is lost
// but what it had acknowledged.
func TestSuccessorStopped(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1, Stall: 500 * time.Millisecond})
	f := s.echoers(many)
	end, old, next := s.disturbed(func(_, next int) { strike(t, next, syscall.SIGSTOP) })
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "no progress") {
		t.Errorf("got %v, want that there was no progress", end.err)
	}
	moved := s.movedBeforeFailure()
	if moved == 0 || moved == many {
		t.Errorf("%d had moved, want some", moved)
	}
	s.gonePIDs([]int{next})
	s.served(f, many-moved, old)
}

// TestSuccessorStoppedAtFirst: a successor that never takes part loses nobody.
func TestSuccessorStoppedAtFirst(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1, Stall: 500 * time.Millisecond})
	cfg := Mix(s.addr, 100)
	cfg.Churn = 0 // whoever comes meanwhile may come to the successor, and dies with it
	run := s.crowd(cfg)
	// With a canary there is time to stop it between its start and the move.
	reload := s.reloading(control.ReloadRequest{CanarySeconds: 1})
	old, next := s.pair()
	until(t, "the successor serves", func() bool { return s.stateOf(next) == control.StateReady })
	strike(t, next, syscall.SIGSTOP)
	end := <-reload
	if code(end.err) != control.CodeFailed || !strings.Contains(end.err.Error(), "no progress") {
		t.Errorf("got %v, want that there was no progress", end.err)
	}
	if moved := s.movedBeforeFailure(); moved != 0 {
		t.Errorf("%d had moved, want none", moved)
	}
	s.gonePIDs([]int{next})
	if st := s.status(); len(st.Workers) != 1 || st.Workers[0].PID != old {
		t.Errorf("got %v, want process %d only", lives(st), old)
	}
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved < 100 || res.Failed+res.Drained != 0 {
		t.Errorf("the next reload: got %+v, %v, want at least 100 moved", res, err)
	}
	s.finish(run)
	s.audited()
}

// stateOf is the state of the worker with a process, or empty.
func (s *server) stateOf(pid int) control.State {
	for _, w := range s.status().Workers {
		if w.PID == pid {
			return w.State
		}
	}
	return ""
}

// TestSuccessorRefuses: a successor that runs out of descriptors half-way gives back what it has: nobody notices.
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
		t.Errorf("%d had moved and did not return, want none", moved)
	}
	s.gonePIDs([]int{next})
	f.all()
	s.finish(run)
	s.served(f, many-100, old)
	f.hangUp()
	s.settled(0)
	s.audited()
}

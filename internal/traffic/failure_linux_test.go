package traffic

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// lives describes each worker: slot, process id, generation and state.
func lives(st control.Status) (list []string) {
	for _, w := range st.Workers {
		list = append(list, fmt.Sprintf("slot %d: pid %d, generation %d, %s", w.Slot, w.PID, w.Generation, w.State))
	}
	return list
}

// TestReloadOfBadBinary checks that a binary that cannot take over changes nothing, and that the next reload works.
func TestReloadOfBadBinary(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2})
	run := s.crowd(Mix(s.addr, 100))
	for _, tt := range []struct {
		name, code string
		binary     string
		mode       os.FileMode
		says       []string // parts of the error or its output
	}{
		{
			"ends at once", control.CodeStart, "#!/bin/sh\necho first words >&2\necho last words >&2\nexit 3\n", 0o755,
			[]string{"first words\n", "last words", "exit status 3", "nothing was changed"},
		},
		{"not executable", control.CodeStart, "#!/bin/sh\nexit 0\n", 0o644, []string{"permission denied"}},
		{"no binary", control.CodeStart, "\x00\x01\x02\x03 nothing that runs", 0o755, []string{"exec format error"}},
		{
			"too few descriptors", control.CodeFailed,
			"#!/bin/sh\nulimit -n 30\nexec '" + self(t) + "' \"$@\"\n", 0o755,
			[]string{"too few free descriptors"},
		},
	} {
		before := lives(s.status())
		s.installBytes([]byte(tt.binary))
		if err := os.Chmod(s.binary, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := s.reload(control.ReloadRequest{})
		said := fmt.Sprint(err)
		if e, ok := errors.AsType[*control.Error](err); ok {
			said += e.Output
		}
		if code(err) != tt.code {
			t.Errorf("%s: got %v, want code %s", tt.name, err, tt.code)
		}
		for _, want := range tt.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s: got %q, want %q in it", tt.name, said, want)
			}
		}
		if after := lives(s.status()); !slices.Equal(after, before) {
			t.Errorf("%s: got %q, want %q as before", tt.name, after, before)
		}
	}
	if r := run.Snapshot(); r.Err() != nil {
		t.Error(r.Err())
	}
	s.install(self(t))
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved < 100 || res.Failed+res.Drained != 0 {
		t.Errorf("the good binary: got %+v, %v, want all moved", res, err)
	}
	s.finish(run)
	s.audited()
}

// TestSuccessorGivesItsClientsBack checks that clients accepted by a new worker survive if that worker turns out to be
// unable to take over.
func TestSuccessorGivesItsClientsBack(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	stay := s.echoers(100)
	s.installBytes([]byte("#!/bin/sh\nulimit -n 60\nexec '" + self(t) + "' \"$@\"\n"))
	end := s.reloading(control.ReloadRequest{CanarySeconds: 12})
	old, next := s.pair()
	successor := func(is func(control.WorkerStatus) bool) func() bool {
		return func() bool {
			return slices.ContainsFunc(s.status().Workers, func(w control.WorkerStatus) bool { return w.PID == next && is(w) })
		}
	}
	until(t, "a successor that serves", successor(func(w control.WorkerStatus) bool { return w.State == "ready" }))
	// With 60 descriptors the successor authorizes at most 9 clients at once, and they all may come to it.
	came := s.echoers(8)
	until(t, "its clients", successor(func(w control.WorkerStatus) bool { return w.Connections > 0 }))
	if r := <-end; r.err == nil || !strings.Contains(r.err.Error(), "too few free descriptors") {
		t.Errorf("got %v, want too few free descriptors", r.err)
	}
	if pids := s.pids(); !slices.Equal(pids, []int{old}) {
		t.Errorf("workers %v, want %d alone", pids, old)
	}
	stay.all()
	came.all()
	s.audited()
}

// TestOneRollAtATime checks that a second command is refused during a reload, and accepted right after it.
func TestOneRollAtATime(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2})
	f := s.echoers(20)
	first := s.reloading(control.ReloadRequest{CanarySeconds: 1})
	until(t, "a reload under way", func() bool { return s.status().Rolling != nil })
	_, reload := s.reload(control.ReloadRequest{})
	_, scale := s.scale(3)
	_, rebalance := s.rebalance()
	for name, err := range map[string]error{"reload": reload, "scale": scale, "rebalance": rebalance} {
		if code(err) != control.CodeBusy || !strings.Contains(err.Error(), "a reload is under way") {
			t.Errorf("%s during a reload: got %v, want code busy", name, err)
		}
	}
	if r := <-first; r.err != nil || r.Moved != 20 {
		t.Errorf("the first reload: got %+v, want 20 moved", r)
	}
	if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved != 20 {
		t.Errorf("a reload right after: got %+v, %v, want 20 moved", res, err)
	}
	f.all()
}

// TestReloadsLeaveNothing checks that clients that come and go in every way during reloads leave no process, descriptor
// or connection behind.
func TestReloadsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2})
	stay := s.echoers(100)
	restless := s.restless(12)
	before := 0
	for i := range 10 {
		old := s.pids()
		if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Failed+res.Drained != 0 || res.Moved < 100 {
			t.Errorf("reload %d: got %+v, %v, want at least 100 moved", i+1, res, err)
		}
		s.gonePIDs(old)
		if i == 0 {
			before = descriptors(s.cmd.Process.Pid)
		}
	}
	if came := restless(); came < 100 {
		t.Errorf("%d restless clients, want at least 100", came)
	}
	st := s.settled(100)
	stay.all()
	for _, w := range st.Workers {
		until(t, "sockets closed", func() bool { return descriptors(w.PID) <= 100+spareFDs })
	}
	// A control connection's descriptor may stay open for a moment after the answer.
	until(t, fmt.Sprintf("the primary has %d descriptors, as after the first reload", before),
		func() bool { return descriptors(s.cmd.Process.Pid) <= before })
	stay.hangUp()
	s.settled(0)
	s.audited()
}

// TestResetsInTransit checks that each connection reset during its move gets exactly one Close callback.
func TestResetsInTransit(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 1})
	for range 3 {
		f := s.call(600, func(i int) string { return [...]string{pathWork, pathCount, pathEcho}[i%3] })
		end := s.reloading(control.ReloadRequest{})
		_, next := s.pair()
		s.under(next, 32)
		for _, c := range f.list {
			reset(c.nc)
		}
		if r := <-end; r.err != nil || r.Failed+r.Drained != 0 {
			t.Errorf("got %+v, want none failed", r)
		}
		s.settled(0)
	}
	s.audited()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// all asks a machine for the status of all.
func (s *server) all(t *testing.T) (st control.Status) {
	t.Helper()
	out, err := s.expedite("status", "--all", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		t.Fatalf("status --all: %v\n%s", err, out)
	}
	return st
}

// TestStatusOfAll: each machine tells of all, also of those on the same host, of one that is reloaded, and of one that
// has died until it is forgotten.
func TestStatusOfAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t)
	var machines []*server
	for i := range 3 {
		m := serve(t, "--redis", redis.URL(), "--workers", fmt.Sprint(i+1))
		for range i + 1 {
			m.mustDial(ctx, "/echo")
		}
		machines = append(machines, m)
	}
	know := func(n int) {
		t.Helper()
		for _, m := range machines {
			m.await(fmt.Sprint("it knows ", n, " machines"), func(st control.Status) bool { return st.Backplane.Machines == n })
		}
	}
	know(3)
	host, _ := os.Hostname()
	check := func(st control.Status, first, reloaded *server) {
		t.Helper()
		if len(st.Nodes) != 3 || st.NodesCause != "" {
			t.Fatalf("got %d machines, %q; want 3", len(st.Nodes), st.NodesCause)
		}
		seen := make(map[int]bool)
		for i, n := range st.Nodes {
			seen[n.PID] = true
			if i == 0 && n.PID != first.cmd.Process.Pid {
				t.Errorf("the first one has pid %d, want that of the machine itself", n.PID)
			}
			if n.Host != host || len(n.Node) != 16 || n.Version == "" || n.Started.IsZero() || len(n.Addresses) != 1 {
				t.Errorf("got %+v", n)
			}
			if int64(n.Workers) != n.Connections || n.Missing != "" || n.Status == nil || n.Status.PID != n.PID ||
				n.Status.Totals.Connections != n.Connections {
				t.Errorf("got %+v, want as many connections as workers, and a status", n)
			}
			if reloaded != nil && n.PID == reloaded.cmd.Process.Pid && n.Status.Generation != 2 {
				t.Errorf("got generation %d, want 2", n.Status.Generation)
			}
		}
		if len(seen) != 3 {
			t.Errorf("got pids %v, want three", seen)
		}
	}
	for _, m := range machines {
		check(m.all(t), m, nil)
	}
	if out, err := machines[1].expedite("reload", "--canary", "0s"); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	eventually(t, "the machine that was reloaded answers", func() bool {
		for _, n := range machines[0].all(t).Nodes {
			if n.Missing != "" || n.Connections != int64(n.Workers) {
				return false
			}
		}
		return true
	})
	check(machines[0].all(t), machines[0], machines[1])

	dead := machines[2].cmd.Process.Pid
	machines[2].signal(syscall.SIGSTOP) // it is neither dead nor alive
	st := machines[0].all(t)
	out, err := machines[0].expedite("status", "--all")
	machines[2].signal(syscall.SIGCONT)
	if err != nil || !strings.Contains(out, "missing: ") || !strings.Contains(out, "total") {
		t.Errorf("got %v\n%s\nwant that a machine is missing", err, out)
	}
	for _, n := range st.Nodes {
		if (n.Missing != "") != (n.PID == dead) || (n.Status == nil) != (n.PID == dead) {
			t.Errorf("got %+v, want that only pid %d is missing", n, dead)
		}
	}
	machines[2].signal(syscall.SIGKILL)
	machines = machines[:2]
	know(2)
	machines[1].signal(syscall.SIGTERM)
	machines[1].waitEnd()
	machines = machines[:1]
	know(1)
	if st := machines[0].all(t); len(st.Nodes) != 1 {
		t.Errorf("got %d machines, want 1", len(st.Nodes))
	}
}

// TestStatusOfAllInTrouble: without Redis it is not known which machines there are, and that is told; a machine without
// others is the only one.
func TestStatusOfAllInTrouble(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	m := serve(t, "--redis", redis.URL(), "--workers", "1")
	m.await("it is known", func(st control.Status) bool { return st.Backplane.Machines == 1 })
	redis.Kill()
	m.await("it is alone", func(st control.Status) bool { return !st.Backplane.Up && st.Backplane.Degraded })
	if st := m.all(t); len(st.Nodes) != 1 || st.NodesCause == "" || st.Nodes[0].Status == nil {
		t.Errorf("got %d machines, %q; want this one, and why there may be others", len(st.Nodes), st.NodesCause)
	}
	m.await("the backplane is degraded", func(st control.Status) bool {
		return strings.Contains(strings.Join(st.Degraded, " "), "backplane")
	})
	alone := serve(t, "--workers", "1")
	if st := alone.all(t); len(st.Nodes) != 1 || st.NodesCause != "" {
		t.Errorf("alone: got %d machines, %q; want 1", len(st.Nodes), st.NodesCause)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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

// answers is all, once those machines have not answered whose processes are named, and the others have. A machine has two
// seconds to answer, which it exceeds if it is slow.
func (s *server) answers(t *testing.T, missing ...int) (st control.Status) {
	t.Helper()
	eventually(t, fmt.Sprint("all machines answer, without those of ", missing), func() bool {
		st = s.all(t)
		return !slices.ContainsFunc(st.Nodes, func(n control.NodeStatus) bool { return (n.Missing != "") != slices.Contains(missing, n.PID) })
	})
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
		check(m.answers(t), m, nil)
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
	check(machines[0].answers(t), machines[0], machines[1])

	dead := machines[2].cmd.Process.Pid
	machines[2].signal(syscall.SIGSTOP) // it is neither dead nor alive
	st := machines[0].answers(t, dead)
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

// sessionsOf asks a machine for sessions, once so many machines do not answer.
func (s *server) sessionsOf(t *testing.T, missing int, args ...string) (list control.SessionList) {
	t.Helper()
	eventually(t, fmt.Sprintf("all machines answer but %d", missing), func() bool {
		list = control.SessionList{}
		out, err := s.expedite(append([]string{"sessions", "--json"}, args...)...)
		if err == nil {
			err = json.Unmarshal([]byte(out), &list)
		}
		if err != nil {
			t.Fatalf("sessions: %v\n%s", err, out)
		}
		return len(list.Missing) == missing
	})
	return list
}

// TestSessionsOfAll: the list of connected sessions has those of all machines, each with its machine, and names a
// machine that does not answer.
func TestSessionsOfAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t)
	var machines []*server
	for range 2 {
		m := serveSecret(t, "--redis", redis.URL(), "--workers", "2")
		for i := range 3 {
			m.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", fmt.Sprint(i), time.Hour, nil))
		}
		machines = append(machines, m)
	}
	for _, m := range machines {
		m.await("it knows the other", func(st control.Status) bool { return st.Backplane.Machines == 2 })
	}
	want := make(map[string]int)
	for _, n := range machines[0].answers(t).Nodes {
		want[n.Node] = 3
	}
	for i, m := range machines {
		list := m.sessionsOf(t, 0)
		got, conns := make(map[string]int), make(map[string]bool)
		for _, s := range list.Sessions {
			got[s.Node]++
			conns[s.Conn] = true
			if s.User != "alice" || !s.Connected || s.Created.IsZero() {
				t.Errorf("machine %d: got %+v", i, s)
			}
		}
		if !maps.Equal(got, want) || len(conns) != 6 || list.More || len(list.Missing) > 0 {
			t.Errorf("machine %d: got %v with %d connections, more %t, missing %q; want %v",
				i, got, len(conns), list.More, list.Missing, want)
		}
		if few := m.sessionsOf(t, 0, "--limit", "4"); len(few.Sessions) != 4 || !few.More {
			t.Errorf("machine %d: got %d sessions, more %t; want 4 and more", i, len(few.Sessions), few.More)
		}
		if own := m.sessionsOf(t, 0, "--user", "alice"); len(own.Sessions) != 6 {
			t.Errorf("machine %d: got %d sessions of the user, want 6", i, len(own.Sessions))
		}
	}
	machines[1].signal(syscall.SIGSTOP)
	list := machines[0].sessionsOf(t, 1)
	out, err := machines[0].expedite("sessions")
	machines[1].signal(syscall.SIGCONT)
	if len(list.Sessions) != 3 {
		t.Errorf("got %d sessions, want 3", len(list.Sessions))
	}
	if err != nil || !strings.Contains(out, "missing: ") {
		t.Errorf("got %v\n%s\nwant that a machine is missing", err, out)
	}
}

// TestStatusOfAllWithoutOneRedis: a machine that lives is there, and answers, whichever of two Redis is away or has been
// emptied.
func TestStatusOfAllWithoutOneRedis(t *testing.T) {
	t.Parallel()
	servers := []*redistest.Server{redistest.Start(t), redistest.Start(t)}
	var machines []*server
	for range 2 {
		machines = append(machines, serve(t, "--redis", servers[0].URL(), "--redis", servers[1].URL(), "--workers", "1"))
	}
	for _, m := range machines {
		m.await("it knows both", func(st control.Status) bool { return st.Backplane.Machines == 2 && st.Backplane.Up })
	}
	check := func(when string) {
		t.Helper()
		for i, m := range machines {
			st := m.answers(t)
			if len(st.Nodes) != 2 {
				t.Errorf("%s, machine %d: got %d machines, %q; want 2", when, i, len(st.Nodes), st.NodesCause)
			}
			for _, n := range st.Nodes {
				if n.Missing != "" || n.Status == nil {
					t.Errorf("%s, machine %d: got %+v, want a status", when, i, n)
				}
			}
		}
	}
	check("at first")
	for i, redis := range servers {
		redis.Do("FLUSHALL")
		check(fmt.Sprint("Redis ", i, " emptied"))
		redis.Kill()
		for _, m := range machines {
			m.await("it notices", func(st control.Status) bool { return !st.Backplane.Up })
		}
		check(fmt.Sprint("Redis ", i, " away"))
		redis.Restart()
		for _, m := range machines {
			m.await("it is connected again", func(st control.Status) bool { return st.Backplane.Up })
		}
		check(fmt.Sprint("Redis ", i, " restarted"))
	}
}

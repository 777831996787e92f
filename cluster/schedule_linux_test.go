package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const anyPort = "127.0.0.1:0"

func TestPoliciesSpreadConnections(t *testing.T) {
	tests := []struct {
		policy   Policy
		min, max int // of 60 connections, per worker of 3; a report may cross the acknowledgement of one or two
	}{
		{RoundRobin, 16, 24}, // a worker that is slow to acknowledge misses its turn
		{LeastConnections, 16, 24},
		{None, 1, 60}, // by hash
	}
	for _, tt := range tests {
		t.Run(tt.policy.String(), func(t *testing.T) {
			g := start(t, Config{Workers: 3, Listen: anyPort, Scheduling: tt.policy}, "serve")
			by := make(map[int]int)
			for range 60 {
				c, err := g.dial()
				if err != nil {
					t.Fatal(err)
				}
				by[c.slot]++
			}
			for slot := 1; slot <= 3; slot++ {
				if n := by[slot]; n < tt.min || n > tt.max {
					t.Errorf("worker %d has %d connections, want %d to %d", slot, n, tt.min, tt.max)
				}
			}
		})
	}
}

func TestLeastConnectionsFillsTheEmptiest(t *testing.T) {
	closed := make(chan struct{}, 100)
	g := start(t, Config{
		Workers: 2, Listen: anyPort, Scheduling: LeastConnections,
		OnReport: func(_ *Worker, r []byte) {
			if len(r) > 0 {
				closed <- struct{}{}
			}
		},
	}, "serve")
	var all, first, other []client
	dial := func() client {
		c, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		g.settle(all)
		return c
	}
	for range 20 {
		if c := dial(); c.slot == 1 {
			first = append(first, c)
		} else {
			other = append(other, c)
		}
	}
	if len(first) != len(other) {
		t.Errorf("%d and %d connections, want as many", len(first), len(other))
	}
	for _, c := range first {
		_ = c.Close()
		<-closed
	}
	all = other
	for range len(other) {
		if c := dial(); c.slot != 1 {
			t.Errorf("a connection went to the fuller worker: %d have %d", len(all), len(other))
		}
	}
}

func TestRefusedSocketsGoToAnother(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConnections} {
		for _, play := range []string{"refuse", "half"} {
			t.Run(policy.String()+" "+play, func(t *testing.T) {
				g := start(t, Config{Workers: 2, Listen: anyPort, Scheduling: policy}, play+" serve")
				before := openFDs(t, os.Getpid())
				worker := openFDs(t, g.Workers()[0].PID())
				by := g.dialMany(100)
				if play == "refuse" && by[2] != 100 {
					t.Errorf("worker 2 serves %d, want 100", by[2])
				}
				s := g.Stats()
				if s.Accepted != 100 || s.Redistributed == 0 || s.Refused != 0 {
					t.Errorf("stats %+v, want 100 accepted, some redistributed, none refused", s)
				}
				// The primary must have closed its copies: the clients in this process are the only new descriptors.
				eventually(t, "copies closed", func() bool { return openFDs(t, os.Getpid()) <= before+100 })
				eventually(t, "worker 1 has the descriptors of its clients, and no others", func() bool {
					return openFDs(t, g.Workers()[0].PID()) == worker+by[1]
				})
			})
		}
	}
}

func TestSocketThatAllRefuseIsClosed(t *testing.T) {
	g := start(t, Config{Workers: 2, Listen: anyPort}, "refuse")
	if c, err := g.dial(); err == nil {
		t.Errorf("worker %d serves", c.slot)
	}
	if s := g.Stats(); s.Refused != 1 || s.Redistributed != 1 {
		t.Errorf("stats %+v, want 1 refused, 1 redistributed", s)
	}
}

func TestUnacknowledgedSocketsOutliveTheirWorker(t *testing.T) {
	g := start(t, Config{Workers: 2, Listen: anyPort}, "die serve")
	by := g.dialMany(40)
	if by[2] != 40 {
		t.Errorf("worker 2 serves %d, want 40", by[2])
	}
	if s := g.Stats(); s.Redistributed == 0 || s.Refused != 0 {
		t.Errorf("stats %+v, want some redistributed, none refused", s)
	}
}

func TestKilledWorkerLosesNoNewConnection(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConnections, None} {
		t.Run(policy.String(), func(t *testing.T) {
			g := start(t, Config{Workers: 2, Listen: anyPort, Scheduling: policy}, "serve")
			other, err := g.dial()
			for err == nil && other.slot != 2 {
				other, err = g.dial()
			}
			if err != nil {
				t.Fatal(err)
			}
			w := g.Workers()[0]
			if err := w.Kill(syscall.SIGSTOP); err != nil { // it does not serve what it gets from now on
				t.Fatal(err)
			}
			// A connection that it has accepted ends with it. One that waits in the kernel's queue must not.
			eventually(t, "it stands still", func() bool { return standsStill(t, w.PID()) })
			served := make(chan map[int]int, 1)
			go func() { served <- g.dialMany(30) }()
			eventually(t, "half are served", func() bool { return w.State() == StateReady })
			if err := w.Kill(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if e := g.await(EventExit, 1); e.Wanted || e.Err == nil {
				t.Errorf("exit %+v, want an unwanted one with its signal", e)
			}
			if e := g.await(EventReady, 1); e.Worker.Generation() != 2 || e.Worker.PID() == w.PID() {
				t.Errorf("generation %d, want 2", e.Worker.Generation())
			}
			total := 0
			for _, n := range <-served {
				total += n
			}
			if total != 30 {
				t.Errorf("%d connections are served, want 30", total)
			}
			if w.State() != StateDead {
				t.Errorf("state %v, want dead", w.State())
			}
			if _, err := other.Write([]byte("x")); err != nil || g.Workers()[1].Generation() != 1 {
				t.Errorf("the other worker was touched: %v", err)
			}
			if s := g.Stats(); s.Restarts != 1 {
				t.Errorf("%d restarts, want 1", s.Restarts)
			}
		})
	}
}

// standsStill reports whether all threads of a process are stopped.
func standsStill(t *testing.T, pid int) bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("process %d: %v", pid, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		_, state, ok := strings.Cut(string(b), ") ")
		if err == nil && (!ok || state[0] != 'T') {
			return false
		}
	}
	return true
}

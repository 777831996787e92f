package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// talker exchanges echoes until its connection ends.
type talker struct {
	*client
	worker int
	rounds atomic.Int64
	ended  chan struct{}
	err    error // after ended
}

func (s *server) talk(ctx context.Context) *talker {
	s.t.Helper()
	w := &talker{client: s.mustDial(ctx, "/"), ended: make(chan struct{})}
	w.worker = w.hello.Worker
	go func() {
		defer close(w.ended)
		for {
			if w.err = w.Write(ctx, websocket.MessageText, []byte("ping")); w.err != nil {
				return
			}
			if _, _, w.err = w.Read(ctx); w.err != nil {
				return
			}
			w.rounds.Add(1)
		}
	}()
	return w
}

// alive waits until w has exchanged some more echoes.
func (s *server) alive(w *talker) {
	s.t.Helper()
	goal := w.rounds.Load() + 3
	s.await(fmt.Sprintf("the client of worker %d goes on", w.worker), func(control.Status) bool {
		select {
		case <-w.ended:
			s.t.Fatalf("the client of worker %d was cut off: %v", w.worker, w.err)
		default:
		}
		return w.rounds.Load() >= goal
	})
}

// TestKilledWorker checks that a worker that is killed under traffic takes only its own clients with it, and is
// replaced.
func TestKilledWorker(t *testing.T) {
	for _, scheduling := range []string{"round-robin", "least-connections", "none"} {
		t.Run(scheduling, func(t *testing.T) {
			s := serve(t, "--workers", "2", "--scheduling", scheduling)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var mine, others []*talker
			for len(mine) == 0 || len(others) == 0 || len(mine)+len(others) < 8 {
				if w := s.talk(ctx); w.worker == 1 {
					mine = append(mine, w)
				} else {
					others = append(others, w)
				}
			}
			before := s.await("both workers are ready", allReady)
			victim := before.Workers[0]
			if victim.Slot != 1 {
				t.Fatalf("first worker of the status: got slot %d, want 1", victim.Slot)
			}
			if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for _, w := range mine {
				<-w.ended
			}
			after := s.await("the worker is back", func(st control.Status) bool {
				w := st.Workers[0]
				return w.State == control.StateReady && w.PID != victim.PID
			})
			if g := after.Workers[0].Generation; g <= victim.Generation {
				t.Errorf("generation: got %d, want above %d", g, victim.Generation)
			}
			if after.Workers[1].PID != before.Workers[1].PID {
				t.Errorf("the other worker was replaced too: pid %d became %d", before.Workers[1].PID, after.Workers[1].PID)
			}
			for _, w := range others {
				s.alive(w)
			}
			// The new worker serves, and receives the other's messages.
			for {
				if w := s.talk(ctx); w.worker == 1 {
					s.alive(w)
					break
				}
			}
		})
	}
}

// TestKilledClients checks that clients that vanish without closing leave nothing behind.
func TestKilledClients(t *testing.T) {
	s := serve(t, "--workers", "2")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stays := s.talk(ctx)
	// This test binary again, as clients in a process that can be killed.
	crowd := exec.Command(os.Args[0], "-test.run=^TestCrowd$")
	crowd.Env = append(os.Environ(), crowdEnv+"="+s.addr)
	out, err := crowd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := crowd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "talking\n" {
		t.Fatalf("the crowd says %q, %v", line, err)
	}
	s.await("the crowd is connected", func(st control.Status) bool { return st.Totals.Connections == 1+crowdSize })
	if err := crowd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = crowd.Wait() // an error, because it was killed
	s.await("the crowd is gone", func(st control.Status) bool { return st.Totals.Connections == 1 })
	s.alive(stays)
}

const (
	crowdEnv  = "EXPEDITE_TEST_CROWD"
	crowdSize = 50
)

// TestCrowd is the process of clients of TestKilledClients. Otherwise it does nothing.
func TestCrowd(t *testing.T) {
	addr := os.Getenv(crowdEnv)
	if addr == "" {
		return
	}
	s := &server{t: t, addr: addr}
	var wg sync.WaitGroup
	ctx := context.Background()
	for range crowdSize {
		c := s.mustDial(ctx, "/echo") // in the lobby, fifty clients would flood one another
		wg.Go(func() {
			for c.Write(ctx, websocket.MessageText, []byte("ping")) == nil {
				if _, _, err := c.Read(ctx); err != nil {
					return
				}
			}
		})
	}
	fmt.Println("talking")
	wg.Wait()
}

// TestKilledPrimary checks that workers close their clients and exit if the primary is killed.
func TestKilledPrimary(t *testing.T) {
	s := serve(t, "--workers", "2", "--drain-timeout", "5s")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	idle := s.mustDial(ctx, "/")
	st := s.await("both workers are ready", allReady)
	s.signal(syscall.SIGKILL)
	_, _, err := idle.Read(ctx)
	if got := websocket.CloseStatus(err); got != websocket.StatusServiceRestart {
		t.Errorf("the client of an orphaned worker: got %v, want close code 1012", err)
	}
	for _, w := range st.Workers {
		awaitGone(ctx, t, w.PID)
	}
}

// TestKilledPrimaryOfStartingWorkers checks that workers exit even if they are still starting.
func TestKilledPrimaryOfStartingWorkers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to find child processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, born := range []int{1, 4, 8} {
		cmd := exec.Command(command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--workers", "8",
			"--control", filepath.Join(t.TempDir(), "c"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill() }() // if it is still running
		var workers []int
		eventually(t, fmt.Sprintf("%d workers are born", born), func() bool {
			workers = children(t, cmd.Process.Pid)
			return len(workers) >= born
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // an error, because it was killed
		for _, pid := range workers {
			awaitGone(ctx, t, pid)
		}
	}
}

// children returns the processes that the threads of a process have started.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, child)
		}
	}
	return list
}

// awaitGone waits until no process has the pid.
func awaitGone(ctx context.Context, t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for running(pid) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d still runs", pid)
		}
	}
}

// running reports whether a process exists and is not a zombie.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	var id int
	var name, state string
	if _, err := fmt.Sscanf(string(b), "%d %s %s", &id, &name, &state); err != nil {
		return true
	}
	return state != "Z"
}

// TestDrain checks that TERM and `expedite stop` close every client with 1012, and that the exit code is 0.
func TestDrain(t *testing.T) {
	for name, stop := range map[string]func(t *testing.T, s *server){
		"TERM": func(_ *testing.T, s *server) { s.signal(syscall.SIGTERM) },
		"stop": func(t *testing.T, s *server) {
			if out, err := exec.Command(command, "stop", "--control", s.control).CombinedOutput(); err != nil {
				t.Errorf("stop: %v\n%s", err, out)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "--workers", "2", "--drain-timeout", "20s")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			clients := make([]*client, 20)
			for i := range clients {
				clients[i] = s.mustDial(ctx, "/")
			}
			var wg sync.WaitGroup
			for _, c := range clients {
				wg.Go(func() {
					_, _, err := c.Read(ctx)
					if got := websocket.CloseStatus(err); got != websocket.StatusServiceRestart {
						t.Errorf("got %v, want close code 1012", err)
					}
				})
			}
			stop(t, s)
			wg.Wait()
			if code := s.waitEnd(); code != 0 {
				t.Errorf("exit code: got %d, want 0", code)
			}
		})
	}
}

// TestDrainHasALimit checks that clients that do not answer the close frame cannot delay the end.
func TestDrainHasALimit(t *testing.T) {
	s := serve(t, "--workers", "1", "--drain-timeout", "1s")
	s.raw(t, handshake("/echo"))
	s.await("the client is in", func(st control.Status) bool { return st.Totals.Connections == 1 })
	s.signal(syscall.SIGTERM)
	if code := s.waitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

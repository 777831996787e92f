package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestCrashLoopRefusesAtOnce checks that clients get 503 at once while no worker starts, and that a reload solves it.
func TestCrashLoopRefusesAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--workers", "1", "--log-dir", dir)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := os.RemoveAll(dir); err != nil { // without it no worker starts
		t.Fatal(err)
	}
	st, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The circuit breaker opens at the sixth crash; the client that waits for it is refused, too.
	for _, path := range []string{"/healthz", "/echo"} {
		_, resp, err := websocket.Dial(ctx, "ws://"+s.addr+path, nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: %v, %v; want 503", path, resp, err)
		}
		if resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	s.await("crashes are counted", func(st control.Status) bool { return st.Totals.Restarts >= 6 })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(command, "reload", "--canary", "0s", "--control", s.control).CombinedOutput(); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	s.echoes(ctx, 1)
}

// TestReloadCountsLossesElsewhere kills, during a reload, a worker whose slot is not being replaced yet.
func TestReloadCountsLossesElsewhere(t *testing.T) {
	s := serve(t, "--workers", "2")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 10 {
		s.mustDial(ctx, "/echo")
	}
	s.await("all are in", func(st control.Status) bool { return st.Totals.Connections == 10 })
	// The primary counts what is lost by the worker's last report, which may not have those that have just come. A move
	// makes its number exact.
	s.roll("reload", "--canary", "0s")
	before := s.await("all are in", func(st control.Status) bool { return st.Totals.Connections == 10 && allReady(st) })
	reload := exec.CommandContext(ctx, command, "reload", "--canary", "5s", "--json", "--control", s.control)
	out := new(syncBuffer)
	reload.Stdout = out
	if err := reload.Start(); err != nil {
		t.Fatal(err)
	}
	s.await("it is under way", func(st control.Status) bool { return st.Rolling != nil })
	victim := before.Workers[1]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := reload.Wait()
	var res control.Result
	if err := json.Unmarshal([]byte(out.String()), &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if reload.ProcessState.ExitCode() != 1 || res.Failed != uint64(victim.Connections) {
		t.Errorf("%v, result %+v; want code 1, and %d failed", err, res, victim.Connections)
	}
}

// TestFasterStopWins checks that a stop without a drain ends a drain.
func TestFasterStopWins(t *testing.T) {
	for name, workers := range map[string]string{"INT": "1", "stop --fast": "2"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "--workers", workers, "--drain-timeout", "10m")
			s.raw(t, handshake("/echo")) // it does not answer the close frame
			s.await("the client is in", func(st control.Status) bool { return st.Totals.Connections == 1 })
			s.signal(syscall.SIGTERM)
			s.await("it drains", func(st control.Status) bool { return !allReady(st) })
			if name == "INT" {
				s.signal(syscall.SIGINT)
			} else if out, err := exec.Command(command, "stop", "--fast", "--control", s.control).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if code := s.waitEnd(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

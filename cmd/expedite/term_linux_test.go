package main

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestTermOfWorkers: a TERM that is meant for workers only does not cost a connection: they are replaced, one after the
// other.
func TestTermOfWorkers(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "2")
	clients := make([]*client, 8)
	for i := range clients {
		clients[i] = s.mustDial(t.Context(), "/echo")
	}
	before := s.await("it serves", allReady)
	for _, w := range before.Workers {
		if err := syscall.Kill(w.PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	after := s.await("both workers are replaced", func(st control.Status) bool {
		return allReady(st) && len(st.Workers) == 2 &&
			st.Workers[0].PID != before.Workers[0].PID && st.Workers[1].PID != before.Workers[1].PID
	})
	if n := after.Totals.Restarts; n != 0 {
		t.Errorf("%d workers crashed", n)
	}
	for _, c := range clients {
		c.wantTalk(t.Context(), t, "a client that was there")
	}
}

// TestTermOfAll: a TERM to all processes at once, as systemd sends it without KillMode=mixed, is a drain like one to the
// primary alone.
func TestTermOfAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := serve(t, "--workers", "2", "--drain-timeout", "20s")
	var wg sync.WaitGroup
	for range 20 {
		c := s.mustDial(ctx, "/echo")
		wg.Go(func() {
			if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				t.Errorf("got %v, want close code 1012", err)
			}
		})
	}
	st := s.await("it serves", allReady)
	for _, w := range st.Workers { // first, so that they hear it before the primary does
		if err := syscall.Kill(w.PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	s.signal(syscall.SIGTERM)
	wg.Wait()
	if code := s.waitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

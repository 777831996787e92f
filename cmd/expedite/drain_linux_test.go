package main

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// drained waits until a server has no connection because of a drain.
func (s *server) drained() {
	s.t.Helper()
	s.await("it is drained", func(st control.Status) bool {
		return st.Draining != nil && st.Draining.Phase == control.DrainDone && st.Totals.Connections == 0
	})
}

// must runs a command that must succeed, and returns its output.
func (s *server) must(args ...string) string {
	s.t.Helper()
	out, err := s.expedite(args...)
	if err != nil {
		s.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// background runs a command until the test ends, or by itself.
func (s *server) background(args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, command, append(args, "--control", s.control)...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cancel(); _ = cmd.Wait() })
}

// wantHealth checks what healthcheck says, and whether its exit code is 0.
func (s *server) wantHealth(healthy bool, says string, flags ...string) {
	s.t.Helper()
	out, err := s.expedite(append([]string{"healthcheck"}, flags...)...)
	if (err == nil) != healthy || !strings.Contains(out, says) || strings.Count(out, "\n") != 1 {
		s.t.Errorf("healthcheck %v: got %q, %v; want %q, healthy %v", flags, out, err, says, healthy)
	}
}

// handshakeStatus returns the HTTP status of a handshake.
func (s *server) handshakeStatus(ctx context.Context) (status int, retry string) {
	s.t.Helper()
	conn, resp, err := websocket.Dial(ctx, "ws://"+s.addr+"/echo", nil)
	if resp == nil {
		s.t.Fatal(err)
	}
	if err == nil {
		_ = conn.CloseNow()
	}
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// TestDrainCommand goes through a drain: not ready, then closed to new clients, then without any; through the crash of a
// worker and a reload with the primary's exec, neither of which ends it; and back.
func TestDrainCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := serve(t, "--workers", "2")
	s.wantHealth(true, "ready: 2 workers")
	s.wantHealth(true, "alive", "--live")
	s.wantHealth(true, "200 OK", "--url", "http://"+s.addr+"/readyz")

	s.must("drain", "--undo") // there is none: nothing happens
	s.background("drain", "--settle", "1h", "--over", "1h")
	s.await("it settles", func(st control.Status) bool { return st.Draining != nil && st.Draining.Phase == control.DrainSettling })
	if status, _ := s.ready(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d in a drain, want 503", status)
	}
	s.wantHealth(false, "the server drains: settling")
	clients := make([]*client, 12)
	for i := range clients {
		clients[i] = s.mustDial(ctx, "/echo") // new ones are taken
	}
	s.must("reload", "--canary", "0s")
	s.await("the drain goes on in the next program", func(st control.Status) bool {
		return st.Generation == 2 && st.Draining != nil && st.Draining.Phase == control.DrainSettling
	})

	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if _, b, err := c.Read(ctx); err != nil || string(b) != "we move" {
				t.Errorf("got %q, %v, want the notice", b, err)
			}
			c.wantClose(ctx, t, "a client", ws.CloseServiceRestart)
		})
	}
	out := s.must("drain", "--settle", "0s", "--over", "2s", "--notice", "we move") // a second one changes the times
	wg.Wait()
	for _, part := range []string{"draining: closing, ", "draining: drained"} {
		if !strings.Contains(out, part) {
			t.Errorf("the command says %q, want %q", out, part)
		}
	}
	s.drained()
	s.stayDrained(ctx)
	s.killWorker(1)
	s.stayDrained(ctx)
	s.must("reload", "--canary", "0s")
	s.await("the primary is replaced", func(st control.Status) bool { return st.Generation == 3 && allReady(st) })
	s.stayDrained(ctx)

	if out := s.must("drain", "--undo"); !strings.Contains(out, "undone") {
		t.Errorf("undo says %q", out)
	}
	s.await("there is no drain", func(st control.Status) bool { return st.Draining == nil })
	eventually(t, "it is ready", func() bool { status, _ := s.ready(); return status == http.StatusOK })
	s.wantHealth(true, "ready: 2 workers")
	for range 4 { // each worker
		s.mustDial(ctx, "/echo").wantTalk(ctx, t, "a client after the drain")
	}
	if got := s.metric("expedite_draining"); got != "0" {
		t.Errorf("the metric is %q, want 0", got)
	}
}

// stayDrained checks that every worker refuses clients, while the server lives.
func (s *server) stayDrained(ctx context.Context) {
	s.t.Helper()
	s.await("all workers serve", allReady)
	for range 4 {
		if status, retry := s.handshakeStatus(ctx); status != http.StatusServiceUnavailable || retry == "" {
			s.t.Errorf("a new client gets %d, Retry-After %q; want 503", status, retry)
		}
	}
	if status, _ := s.ready(); status != http.StatusServiceUnavailable {
		s.t.Errorf("/readyz answers %d when drained, want 503", status)
	}
	resp, err := http.Get("http://" + s.addr + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Errorf("/healthz answers %d when drained, want 200", resp.StatusCode)
	}
	s.wantHealth(false, "the server drains")
	s.wantHealth(true, "alive", "--live")
	if got := s.metric("expedite_draining"); got != "1" {
		s.t.Errorf("the metric is %q, want 1", got)
	}
}

// TestDrainOfNobody: a drain without connections is over after the time to settle; a connection that takes its time to
// leave does not hold up a stop.
func TestDrainOfNobody(t *testing.T) {
	t.Parallel()
	m := startServiceManager(t)
	s := m.serveUnder(command, "--workers", "1")
	m.next("READY=1")
	s.must("drain", "--settle", "0s", "--over", "0s")
	m.next("STATUS=0 connections, 1 worker, generation 1, draining: drained")
	s.must("drain", "--undo")
	c := s.mustDial(t.Context(), "/echo")
	s.background("drain", "--settle", "0s", "--over", "1h")
	s.await("it closes", func(st control.Status) bool {
		return st.Draining != nil && st.Draining.Phase == control.DrainClosing && st.Draining.Connections == 1
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.wantClose(t.Context(), t, "the client", ws.CloseServiceRestart)
	}()
	s.must("stop")
	<-done
	if code := s.waitEnd(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	s.wantHealth(false, "no Expedite is running")
}

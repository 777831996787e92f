package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/control"
)

// readyz asks a server whether it accepts clients.
func (s *server) readyz(t *testing.T) (status int, degraded []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var state struct {
		Degraded []string `json:"degraded"`
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if after := resp.Header.Get("Retry-After"); (after != "") != (resp.StatusCode == http.StatusServiceUnavailable) {
		t.Errorf("/readyz says %d with a Retry-After of %q", resp.StatusCode, after)
	}
	return resp.StatusCode, state.Degraded
}

// TestKeysWithoutProvider checks that workers that start while the provider of the keys is down have the keys of the
// others: after the death of a worker, after reloads, and after the replacement of the primary. A server without any
// keys is not ready.
func TestKeysWithoutProvider(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	private, public, err := auth.GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Sign(map[string]any{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, public)
	}))
	defer provider.Close()
	s := serve(t, "--workers", "2", "--auth", "required", "--auth-jwks", provider.URL)
	_ = s.mustDial(ctx, "/?access_token="+token).CloseNow()
	provider.Close()

	wantIn := func(when string) {
		t.Helper()
		for range 6 {
			c, err := s.dial(ctx, "/?access_token="+token)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			_ = c.CloseNow()
			if status, degraded := s.readyz(t); status != http.StatusOK || slices.Contains(degraded, "keys") {
				t.Errorf("%s: /readyz says %d, %v", when, status, degraded)
			}
		}
	}
	before := s.await("it serves", allReady)
	if slices.Contains(before.Degraded, "keys") {
		t.Errorf("with keys: status says %v", before.Degraded)
	}
	for _, w := range before.Workers {
		if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	s.await("the workers are replaced", func(st control.Status) bool {
		return allReady(st) && !slices.ContainsFunc(st.Workers, func(w control.WorkerStatus) bool {
			return slices.ContainsFunc(before.Workers, func(old control.WorkerStatus) bool { return old.PID == w.PID })
		})
	})
	wantIn("after the death of all workers")
	for range 2 {
		if out, err := s.expedite("reload"); err != nil {
			t.Fatalf("reload: %v: %s", err, out)
		}
		wantIn("after a reload")
	}

	empty := serve(t, "--workers", "1", "--auth", "required", "--auth-jwks", provider.URL)
	if status, degraded := empty.readyz(t); status != http.StatusServiceUnavailable || !slices.Contains(degraded, "keys") {
		t.Errorf("without keys: /readyz says %d, %v, want 503 and keys", status, degraded)
	}
	empty.await("status names them", func(st control.Status) bool { return slices.Contains(st.Degraded, "keys") })
}

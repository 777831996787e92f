package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// ready requests /readyz.
func (s *server) ready() (status int, degraded []string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addr + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ Degraded []string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body.Degraded
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// wantTalk sends a message in the lobby and waits for it.
func (c *client) wantTalk(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if string(b) == text {
			return
		}
	}
}

// TestRedisAway checks that no client is disconnected and new ones are served while Redis is down, and that Redis has
// all sessions of connected clients when it is back, even if it was emptied.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t)
	s := serveSecret(t, "--workers", "2", "--redis", redis.URL(), "--session-ttl", "6s")
	stored := func(c *client) bool {
		return strings.Contains(redis.Do("KEYS", "*"), "s:"+c.hello.Session.String())
	}
	alice := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	if !stored(alice) {
		t.Errorf("the session is not in Redis: %s", redis.Do("KEYS", "*"))
	}
	redis.Kill()
	bob := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b1", time.Hour, nil))
	alice.wantTalk(ctx, t, "without Redis")
	bob.wantTalk(ctx, t, "me too")
	eventually(t, "all workers tell of it, and are ready", func() bool {
		status, degraded := s.ready()
		return status == http.StatusOK && slices.Contains(degraded, "redis")
	})
	s.await("the status tells of it", func(st control.Status) bool { return st.Sessions != nil && st.Sessions.Degraded })
	for i := range 4 { // in the other worker, too
		s.mustDial(ctx, "/?access_token="+tokenFor(t, "carol", fmt.Sprint("c", i), time.Hour, nil))
	}
	if ticket := ticketOf(ctx, t, s, tokenFor(t, "dave", "d1", time.Hour, nil)); ticket != "" {
		if dave := s.mustDial(ctx, "/?ticket="+ticket); dave.hello.User != "dave" {
			t.Errorf("a ticket without Redis: got %+v", dave.hello)
		}
	}
	redis.Restart() // empty
	s.await("the status tells that it is back", func(st control.Status) bool { return !st.Sessions.Degraded })
	eventually(t, "the session that was made meanwhile is in Redis", func() bool { return stored(bob) })
	eventually(t, "the session that Redis has lost is there again", func() bool { return stored(alice) })
	again := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b2", time.Hour, nil)+"&session="+bob.hello.Session.String())
	if !again.hello.Resumed {
		t.Errorf("got %+v, want the session resumed", again.hello)
	}
	bob.wantClose(ctx, t, "its first connection", expedite.CloseReplaced)
	alice.wantTalk(ctx, t, "still here")
}

// TestTwoMachines checks that machines with the same Redis share sessions, kicks and revocations.
func TestTwoMachines(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t)
	one := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	two := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	alice := one.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	moved := two.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a2", time.Hour, nil)+
		"&session="+alice.hello.Session.String())
	if !moved.hello.Resumed {
		t.Errorf("got %+v, want the session resumed on the other machine", moved.hello)
	}
	alice.wantClose(ctx, t, "the connection on the first machine", expedite.CloseReplaced)
	if out, err := one.expedite("revoke", "--user", "alice"); err != nil {
		t.Errorf("revoke: %v: %s", err, out)
	}
	moved.wantClose(ctx, t, "revoked on the other machine", expedite.CloseUnauthorized)
	three := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	eventually(t, "a machine that comes later knows of the revocation", func() bool {
		c, err := three.dial(ctx, "/?access_token="+tokenFor(t, "alice", "a3", time.Hour, nil))
		if err == nil {
			_ = c.CloseNow()
		}
		return err != nil && strings.Contains(err.Error(), "401")
	})
}

// TestRequireRedis checks that clients and load balancers get 503 if sessions are required but unavailable.
func TestRequireRedis(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	redis := redistest.Start(t)
	s := serveSecret(t, "--workers", "1", "--redis", redis.URL(), "--require-redis")
	s.mustDial(ctx, "/")
	redis.Kill()
	eventually(t, "clients are refused", func() bool {
		_, resp, err := websocket.Dial(ctx, "ws://"+s.addr+"/", nil)
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable &&
			resp.Header.Get("Retry-After") != ""
	})
	if status, degraded := s.ready(); status != http.StatusServiceUnavailable || !slices.Contains(degraded, "redis") {
		t.Errorf("readyz: got %d, %v, want 503", status, degraded)
	}
	redis.Restart()
	eventually(t, "clients are let in again", func() bool {
		c, err := s.dial(ctx, "/")
		if err == nil {
			_ = c.CloseNow()
		}
		return err == nil
	})
}

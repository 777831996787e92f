package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// permissions are those that docs/identity.md names.
var permissions = strings.Fields("~expedite:* &expedite:* +@read +@write +@scripting +@pubsub +@connection +time")

// redisUser creates a Redis user with the documented permissions, except those that the rules remove, and returns
// a file with its URL.
func redisUser(t *testing.T, redis *redistest.Server, rules ...string) string {
	t.Helper()
	command := slices.Concat([]string{"ACL", "SETUSER", "limited", "reset", "on", ">pw"}, permissions, rules)
	if answer := redis.Do(command...); answer != "OK" {
		t.Fatal(answer)
	}
	file := filepath.Join(t.TempDir(), "redis")
	if err := os.WriteFile(file, []byte("redis://limited:pw@"+redis.Addr()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusal tries to connect, and returns the status of the refusal, or 0 if there was none.
func (s *server) refusal(ctx context.Context, user string) int {
	s.t.Helper()
	c, resp, err := websocket.Dial(ctx, "ws://"+s.addr+"/?access_token="+tokenFor(s.t, user, user+"-1", time.Hour, nil), nil)
	if err == nil {
		_ = c.CloseNow()
		return 0
	}
	if resp == nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode
}

// metric returns the value of a metric without labels.
func (s *server) metric(name string) string {
	s.t.Helper()
	admin := regexp.MustCompile(`admin +(http://\S+)`).FindStringSubmatch(s.output.String())
	if admin == nil {
		s.t.Fatalf("no admin listener in %s", s.output)
	}
	for line := range strings.Lines(get(s.t, admin[1]+"metrics")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return ""
}

// agree waits until /readyz of all workers, status and metrics report the same state of store and feed, and checks that
// they report nothing else.
func (s *server) agree(what string, status int, degraded ...string) {
	s.t.Helper()
	up := func(name string) string {
		if slices.Contains(degraded, name) {
			return "0"
		}
		return "1"
	}
	eventually(s.t, what, func() bool {
		for range 6 { // other workers, too
			if got, names := s.ready(); got != status || !slices.Equal(names, degraded) {
				return false
			}
		}
		st, err := s.status()
		return err == nil && slices.Equal(st.Degraded, degraded) &&
			st.Sessions.Degraded == slices.Contains(degraded, "redis") &&
			s.metric("expedite_session_store_up") == up("redis") &&
			s.metric("expedite_revocation_feed_up") == up("revocations")
	})
}

// TestNobodyBeforeTheFeedIsRead checks that, with --require-redis, no client is admitted before the revocations are
// known, and that without it, revoked clients are closed as soon as they are known.
func TestNobodyBeforeTheFeedIsRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t)
	one := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	for _, user := range []string{"mallory", "mary"} {
		if out, err := one.expedite("revoke", "--user", user); err != nil {
			t.Fatalf("revoke: %v: %s", err, out)
		}
	}
	file := redisUser(t, redis, "-zscan")
	strict := serveSecret(t, "--workers", "2", "--redis-file", file, "--require-redis")
	mild := serveSecret(t, "--workers", "2", "--redis-file", file)
	strict.agree("the strict server is not ready", http.StatusServiceUnavailable, "revocations")
	mild.agree("the mild server is ready", http.StatusOK, "revocations")
	for range 4 {
		if got := strict.refusal(ctx, "mallory"); got != http.StatusServiceUnavailable {
			t.Errorf("revoked, where that must be known: got %d", got)
		}
	}
	in := mild.mustDial(ctx, "/?access_token="+tokenFor(t, "mallory", "m1", time.Hour, nil))
	good := mild.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	redis.Do("ACL", "SETUSER", "limited", "+zscan")
	in.wantClose(ctx, t, "revoked, and let in before that was known", expedite.CloseUnauthorized)
	strict.agree("the strict server is ready", http.StatusOK)
	mild.agree("all is well", http.StatusOK)
	for _, s := range []*server{strict, mild} {
		for range 2 {
			if got := s.refusal(ctx, "mallory"); got != http.StatusUnauthorized {
				t.Errorf("revoked: got %d", got)
			}
		}
		if got := s.refusal(ctx, "alice"); got != 0 {
			t.Errorf("not revoked: got %d", got)
		}
	}
	good.wantTalk(ctx, t, "still here")
}

// TestRedisAwayFromTheStart checks that all workers report that Redis is down before any client has connected, and that
// the log does so once.
func TestRedisAwayFromTheStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	redis.Kill()
	s := serveSecret(t, "--workers", "3", "--redis", redis.URL(), "--require-redis")
	s.agree("it is not ready", http.StatusServiceUnavailable, "redis", "revocations")
	about := 0
	for line := range strings.Lines(s.output.String()) {
		if strings.Contains(line, `"level":"WARN"`) && strings.Contains(line, "redis") {
			about++
		}
	}
	if about != 1 {
		t.Errorf("got %d warnings about Redis, want one", about)
	}
	redis.Restart()
	s.agree("it is ready", http.StatusOK)
	eventually(t, "clients are let in", func() bool { // a worker may connect to Redis a moment later than the primary
		c, err := s.dial(ctx, "/")
		if err == nil {
			_ = c.CloseNow()
		}
		return err == nil
	})
}

// TestRedisThatRefuses checks that missing permissions of Redis are reported everywhere before they matter, and that no
// client is disconnected because of them.
func TestRedisThatRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		rules    []string
		degraded []string
	}{
		{"nothing", nil, nil},
		{"channels", []string{"resetchannels"}, []string{"revocations"}},
		{"PUBLISH", []string{"-publish"}, []string{"revocations"}},
		{"SUBSCRIBE", []string{"-subscribe"}, []string{"revocations"}},
		{"HSET", []string{"-hset"}, []string{"redis"}},
		{"tickets", []string{"-getdel"}, []string{"redis"}},
		{"ZADD", []string{"-zadd"}, []string{"redis", "revocations"}},
		{"writing", []string{"-@write"}, []string{"redis", "revocations"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			s := serveSecret(t, "--workers", "1", "--redis-file", redisUser(t, redis, tt.rules...))
			s.agree("all agree", http.StatusOK, tt.degraded...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
			c.wantTalk(ctx, t, "hello")
			s.agree("all agree when a client has come", http.StatusOK, tt.degraded...)
			st := s.await("the client is counted", func(st control.Status) bool {
				return st.Sessions.Connected != nil && *st.Sessions.Connected == 1
			})
			if st.Sessions.Sessions != nil {
				t.Errorf("got %d sessions in Redis, want that nobody knows", *st.Sessions.Sessions)
			}
			if len(tt.degraded) > 0 {
				eventually(t, "the log tells", func() bool { return strings.Contains(s.output.String(), `"level":"WARN"`) })
			}
		})
	}
}

// TestReplicaIsAway checks that a read-only Redis counts as down, in every worker, before a client has connected.
func TestReplicaIsAway(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica := redistest.Start(t, "--replicaof", host, port)
	s := serveSecret(t, "--workers", "2", "--redis", replica.URL())
	s.agree("all agree", http.StatusOK, "redis", "revocations")
}

// TestRevokeWithoutChannels checks that a revocation reaches other machines even if Redis forbids channels, and that
// the command reports the delay.
func TestRevokeWithoutChannels(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t)
	file := redisUser(t, redis, "resetchannels")
	one := serveSecret(t, "--workers", "1", "--redis-file", file)
	two := serveSecret(t, "--workers", "1", "--redis-file", file)
	alice := two.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	out, err := one.expedite("revoke", "--user", "alice")
	if err == nil || !strings.Contains(out, "warning: other machines learn of it within 10 s") || !strings.Contains(out, "permission") {
		t.Errorf("revoke: got %v, %s; want a failure that says what is missing", err, out)
	}
	alice.wantClose(ctx, t, "revoked on the other machine", expedite.CloseUnauthorized)
	if got := two.refusal(ctx, "alice"); got != http.StatusUnauthorized {
		t.Errorf("on the other machine: got %d", got)
	}
	if out, err = one.expedite("kick", "--user", "bob"); err == nil || !strings.Contains(out, "other machines were not told") {
		t.Errorf("kick: got %v, %s; want a failure", err, out)
	}
	redis.Do("ACL", "SETUSER", "limited", "-zadd")
	if out, err = one.expedite("revoke", "--user", "carol", "--json"); err == nil || !strings.Contains(out, `"stored": false`) {
		t.Errorf("revoke: got %v, %s; want a failure", err, out)
	}
	redis.Do("ACL", "SETUSER", "limited", "+zadd")
	eventually(t, "what could not be stored is told later", func() bool {
		return two.refusal(ctx, "carol") == http.StatusUnauthorized
	})
}

// TestRedisReplaced checks that a machine stores the revocations it knows again in a Redis that has lost them, for
// machines that start later.
func TestRedisReplaced(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	redis := redistest.Start(t)
	one := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	if out, err := one.expedite("revoke", "--user", "mallory"); err != nil {
		t.Fatalf("revoke: %v: %s", err, out)
	}
	redis.Kill()
	redis.Restart() // empty
	eventually(t, "it is stored again", func() bool { return redis.Do("ZCARD", "expedite:{feed:orders}") == "1" })
	two := serveSecret(t, "--workers", "1", "--redis", redis.URL(), "--require-redis")
	two.agree("it is ready", http.StatusOK)
	if got := two.refusal(ctx, "mallory"); got != http.StatusUnauthorized {
		t.Errorf("got %d", got)
	}
}

// TestLongDenyList checks that a deny list longer than a message prevents no worker from starting and no reload, and is
// known afterwards.
func TestLongDenyList(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	const entries, length = 12_000, 1_020
	redis := redistest.Start(t)
	until := time.Now().Add(time.Hour)
	// JSON writes each of these characters in six.
	head, err := json.Marshal(strings.Repeat("\x01", length))
	if err != nil {
		t.Fatal(err)
	}
	redis.Do("EVAL", `for i = 1, tonumber(ARGV[1]) do
		redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3] .. i .. ARGV[4])
	end`, "1", "expedite:{feed:orders}", strconv.Itoa(entries), strconv.FormatInt(until.UnixMilli(), 10),
		fmt.Sprintf(`{"kind":"user","value":%s`, strings.TrimSuffix(string(head), `"`)),
		fmt.Sprintf(`","until":%q,"code":4401,"reason":"revoked"}`, until.UTC().Format(time.RFC3339)))
	s := serveSecret(t, "--workers", "1", "--redis", redis.URL())
	if out, err := s.expedite("revoke", "--user", "mallory"); err != nil {
		t.Fatalf("revoke: %v: %s", err, out)
	}
	known := func(st control.Status) bool { return st.Revocations.Revocations == entries+1 }
	s.await("all is read", func(st control.Status) bool { return known(st) && st.Revocations.Current })
	refused := func(when string) {
		t.Helper()
		if got := s.refusal(ctx, "mallory"); got != http.StatusUnauthorized {
			t.Errorf("%s: got %d", when, got)
		}
		if got := s.refusal(ctx, "alice"); got != 0 {
			t.Errorf("%s, somebody else: got %d", when, got)
		}
	}
	refused("when all is read")
	st := s.await("the worker is there", allReady)
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	before := st.Workers[0].PID
	s.await("another worker is there", func(st control.Status) bool { return allReady(st) && st.Workers[0].PID != before })
	refused("in the worker that came after the first")
	redis.Kill()
	if out, err := s.expedite("reload"); err != nil {
		t.Fatalf("reload: %v: %s", err, out)
	}
	s.await("the next program knows all of it", func(st control.Status) bool { return st.Generation == 2 && known(st) })
	refused("after a reload without Redis")
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// testSecret signs the tokens of these tests. It must not appear anywhere.
const testSecret = "planted-secret-of-at-least-32-bytes"

// tokenFor returns a signed token.
func tokenFor(t *testing.T, user, id string, ttl time.Duration, claims map[string]any) string {
	t.Helper()
	key, err := auth.ParsePrivateKey([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"sub": user, "jti": id, "exp": time.Now().Add(ttl).Unix()}
	for name, v := range claims {
		all[name] = v
	}
	token, err := key.Sign(all)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// serveSecret starts a server with testSecret.
func serveSecret(t *testing.T, args ...string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, append([]string{"--auth-secret-file", file}, args...)...)
}

// wantClose waits until the server closes the connection.
func (c *client) wantClose(ctx context.Context, t *testing.T, name string, code ws.CloseCode) {
	t.Helper()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue // messages of others in the lobby
		}
		if got, ok := errors.AsType[websocket.CloseError](err); !ok || ws.CloseCode(got.Code) != code {
			t.Errorf("%s: got %v, want close code %d", name, err, code)
		}
		return
	}
}

// expedite runs another command against the server.
func (s *server) expedite(args ...string) (string, error) {
	out, err := exec.Command(command, append(args, "--control", s.control)...).CombinedOutput()
	return string(out), err
}

// TestIdentityThroughReload checks that user, session and the token's expiry stay with a connection that moves twice,
// and that revocations and sessions in memory survive the replacement of the primary.
func TestIdentityThroughReload(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	s := serveSecret(t, "--workers", "2", "--auth", "required", "--session-ttl", "10m", "--auth-leeway", "0")
	life := 4 * time.Second
	short := s.mustDial(ctx, "/?access_token="+tokenFor(t, "short", "s1", life, nil))
	alice := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	left := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b1", time.Hour, nil))
	if alice.hello.User != "alice" || alice.hello.Session == nil || alice.hello.Resumed {
		t.Fatalf("welcome of alice: %+v", alice.hello)
	}
	_ = left.Close(websocket.StatusNormalClosure, "")
	if out, err := s.expedite("revoke", "--user", "mallory", "--for", "1h"); err != nil {
		t.Fatalf("revoke: %v: %s", err, out)
	}
	for range 2 {
		if out, err := s.expedite("reload"); err != nil {
			t.Fatalf("reload: %v: %s", err, out)
		}
	}
	if _, err := s.dial(ctx, "/?access_token="+tokenFor(t, "mallory", "m1", time.Hour, nil)); err == nil {
		t.Error("a revoked user comes in after a reload")
	}
	back := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b2", time.Hour, nil)+
		"&session="+left.hello.Session.String())
	if !back.hello.Resumed || *back.hello.Session != *left.hello.Session {
		t.Errorf("after two reloads: %+v, want session %v resumed", back.hello, left.hello.Session)
	}
	short.wantClose(ctx, t, "the short token, after two reloads", expedite.CloseUnauthorized)
	if out, err := s.expedite("revoke", "--token-id", "a1"); err != nil || !strings.Contains(out, "1") {
		t.Errorf("revoke: %v: %s", err, out)
	}
	alice.wantClose(ctx, t, "a token that is revoked after it has moved", expedite.CloseUnauthorized)
}

// TestOrdersReachEveryWorker checks that kicks and revocations find connections in every worker.
func TestOrdersReachEveryWorker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := serveSecret(t, "--workers", "3")
	var all []*client
	workers := make(map[int]bool)
	for i := range 6 {
		c := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", fmt.Sprint("a", i), time.Hour, nil))
		all = append(all, c)
		workers[c.hello.Worker] = true
	}
	if len(workers) != 3 {
		t.Fatalf("clients are in %d workers, want 3", len(workers))
	}
	out, err := s.expedite("sessions", "--user", "alice", "--json")
	var list control.SessionList
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil || len(list.Sessions) != 6 || !list.Sessions[0].Connected {
		t.Errorf("sessions: %v: %s", err, out)
	}
	if out, err := s.expedite("kick", "--conn", all[0].hello.Connection.String(), "--reason", "enough"); err != nil {
		t.Errorf("kick: %v: %s", err, out)
	}
	all[0].wantClose(ctx, t, "kicked by id", expedite.CloseKicked)
	if out, err := s.expedite("revoke", "--session", all[1].hello.Session.String()); err != nil {
		t.Errorf("revoke: %v: %s", err, out)
	}
	all[1].wantClose(ctx, t, "session revoked", expedite.CloseUnauthorized)
	out, err = s.expedite("kick", "--user", "alice")
	if err != nil || !strings.Contains(out, "4") {
		t.Errorf("kick: %v: %s, want 4 closed", err, out)
	}
	for _, c := range all[2:] {
		c.wantClose(ctx, t, "kicked by user", expedite.CloseKicked)
	}
	for _, args := range [][]string{{"kick"}, {"kick", "--conn", "xyz"}, {"revoke", "--session", "1"}} {
		if out, err := s.expedite(args...); err == nil {
			t.Errorf("%v: got no error: %s", args, out)
		}
	}
}

// TestPlantedSecret checks that no output of a full run contains a token, a ticket, a cookie, or the secret.
func TestPlantedSecret(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	logs := t.TempDir()
	s := serveSecret(t, "--workers", "2", "--log-level", "debug", "--log-dir", logs, "--auth", "optional",
		"--log-query", "device,access_token,ticket", "--log-header", "User-Agent,Cookie,Authorization", "--log-sample", "1000")
	stop := make(chan string, 1)
	follow := exec.CommandContext(ctx, command, "logs", "--follow", "--level", "debug", "--json", "--control", s.control)
	var followed syncBuffer
	follow.Stdout, follow.Stderr = &followed, &followed
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { stop <- fmt.Sprint(follow.Wait()) }()

	token := tokenFor(t, "alice", "a1", time.Hour, map[string]any{"publish": []string{}})
	bad := token[:len(token)-6] + "AAAAAA"
	const cookie = "planted-cookie-value"
	secrets := []string{testSecret, token, strings.Split(token, ".")[2], bad, cookie}
	header := http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"sid=" + cookie}}
	for _, h := range []http.Header{header, {"Authorization": {"Bearer " + bad}}, {"Cookie": {"access_token=" + token}}} {
		if c, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/?device=phone", &websocket.DialOptions{HTTPHeader: h}); err == nil {
			defer c.CloseNow()
		}
	}
	for _, target := range []string{"/?device=tablet&access_token=" + token, "/?access_token=" + bad, "/nothing?access_token=" + token} {
		if c, err := s.dial(ctx, target); err == nil {
			_ = c.Write(ctx, websocket.MessageText, []byte("not permitted by the claims")) // closes it
			c.wantClose(ctx, t, "publishing without the permission", ws.ClosePolicyViolation)
		}
	}
	ticket := ticketOf(ctx, t, s, token)
	secrets = append(secrets, ticket)
	s.mustDial(ctx, "/?ticket="+ticket)
	if _, err := s.dial(ctx, "/?ticket="+ticket); err == nil {
		t.Error("a ticket is good twice")
	}
	shown, err := s.expedite("sessions", "--json")
	if err != nil || !strings.Contains(shown, "[redacted]") {
		t.Errorf("sessions: %v: %s, want the cookie redacted", err, shown)
	}
	if out, err := s.expedite("kick", "--user", "alice"); err != nil {
		t.Errorf("kick: %v: %s", err, out)
	}
	st := s.await("all are gone", func(st control.Status) bool { return st.Totals.Connections <= 1 })
	status, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.expedite("logs", "--json")
	if err != nil || !strings.Contains(out, "alice") {
		t.Errorf("logs: %v: %s", err, out)
	}
	s.signal(syscall.SIGUSR1)
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	s.waitEnd()
	<-stop
	written := map[string]string{
		"output": s.output.String(), "status": string(status), "recent log lines": out, "sessions": shown, "followed log lines": followed.String(),
		"arguments": string(args),
	}
	files, err := os.ReadDir(logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(logs, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		written[f.Name()] = string(b)
	}
	for where, text := range written {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s: holds %q…: %s", where, secret[:8], text[max(0, i-200):i])
			}
		}
	}
	for _, want := range []string{"worker-1.log", "worker-2.log", "primary.log"} {
		if _, ok := written[want]; !ok {
			t.Errorf("no %s among %v", want, files)
		}
	}
	var all string
	for _, text := range written {
		all += text
	}
	if !strings.Contains(all, `"device":"tablet"`) ||
		!strings.Contains(all, `"user":"alice"`) || !strings.Contains(followed.String(), "alice") {
		t.Errorf("the client's parameters are not in the log lines:\n%s", all)
	}
}

// ticketOf requests a ticket.
func ticketOf(ctx context.Context, t *testing.T, s *server, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/ticket", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Ticket string }
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil || answer.Ticket == "" {
		t.Fatalf("ticket: %v: %d %s", err, resp.StatusCode, b)
	}
	return answer.Ticket
}

// TestAuthUsage checks that nonsensical flags are errors at start.
func TestAuthUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"required without a key", "EXPEDITE_AUTH_SECRET", []string{"--auth", "required"}},
		{"unknown mode", "optional or required", []string{"--auth", "maybe"}},
		{"no such file", "nowhere", []string{"--auth-keys", "/nowhere/keys.json"}},
		{"origin that is none", "--origins", []string{"--origins", "example.com/path"}},
		{"Redis that is none", "redis", []string{"--redis", "http://localhost"}},
		{"session that does not live", "--session-ttl", []string{"--session-ttl", "0s"}},
	} {
		cmd := exec.Command(command, append([]string{"serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control", "off"}, tt.args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: got %v: %s, want %q", tt.name, err, out, tt.want)
		}
	}
}

// TestAuthLeeway checks that --auth-leeway extends the validity of a token.
func TestAuthLeeway(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := serveSecret(t, "--workers", "1", "--auth-leeway", "1m")
	c := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", -10*time.Second, nil))
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	if _, err := s.dial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", -2*time.Minute, nil)); err == nil {
		t.Error("after the leeway: it comes in")
	}
}

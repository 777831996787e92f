package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/ws"
)

// line waits for a line of the log with a message, and returns its fields.
func (s *server) line(msg string) (fields map[string]any) {
	s.t.Helper()
	eventually(s.t, "there is a line "+msg, func() bool {
		for line := range strings.Lines(s.output.String()) {
			fields = nil
			if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
				return true
			}
		}
		return false
	})
	return fields
}

// TestLimitsInTheLog: a client that is refused because of its address is logged as others are, and one whose message is
// too big with the limit and its size, which it is told, too. The end of a worker is not what it has logged before.
func TestLimitsInTheLog(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := serve(t, "--workers", "1", "--log-format", "json", "--max-per-address", "1", "--max-message", "1000B", "--compression", "shared")
	c := s.mustDial(ctx, "/echo")
	if _, resp, err := websocket.Dial(ctx, "ws://"+s.addr+"/echo", nil); resp == nil || resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second connection: %v", err)
	}
	got := s.line("client refused")
	if remote, _ := got["remote"].(string); got["reason"] != "per_address" || got["status"] != 429. || !strings.HasPrefix(remote, "127.0.0.1:") ||
		got["error"] != "too many connections from this address" {
		t.Errorf("got %v", got)
	}
	if err := c.Write(ctx, websocket.MessageText, make([]byte, 1001)); err != nil {
		t.Fatal(err)
	}
	c.wantClose(ctx, t, "too big", ws.CloseMessageTooBig)
	const reason = "message is too big: message_size is 1000 bytes"
	if got := s.line("client gone"); got["code"] != 1009. || got["reason"] != reason {
		t.Errorf("got %v, want %s", got, reason)
	}
	s.killWorker(1)
	if got := s.line("worker ended"); got["end"] != "signal: killed" || got["output"] != nil && !strings.HasPrefix(got["output"].(string), "{") {
		t.Errorf("got %v", got)
	}
}

// TestChatWithAWrongToken: the page of the example says that a token was refused, and does not try for ever.
func TestChatWithAWrongToken(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	dir := t.TempDir()
	program := filepath.Join(dir, "chat")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "../../examples/chat").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := serveAs(t, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args[0], cmd.Env = program, program, append(os.Environ(), secretEnv+"="+testSecret)
	}, "--workers", "1")
	b := startBrowser(ctx, t)
	for token, want := range map[string]string{
		"wrong": "the token was refused", tokenFor(t, "alice", "a1", time.Hour, nil): "connected",
	} {
		tab := b.open(ctx, "http://"+s.addr+"/?room=go#token="+token)
		var text string
		b.evaluate(ctx, tab, `new Promise(done => {
			const state = document.getElementById("state")
			const check = () => ["open", "closed"].includes(state.className) ? done(state.textContent) : setTimeout(check, 20)
			check()
		})`, &text)
		if !strings.Contains(text, want) {
			t.Errorf("the page says %q, want %q", text, want)
		}
	}
}

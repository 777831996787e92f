package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/expedite-go/expedite/internal/control"
)

// fiftySockets is the script that the README recommends for the console, with a report at the end: for each socket its
// worker, and from how many different sockets it received a hello.
const fiftySockets = `new Promise((done, fail) => {
  const sockets = 50, heard = [], workers = []
  window.sockets = []
  let complete = 0
  for (let i = 0; i < sockets; i++) {
    heard[i] = new Set()
    const ws = new WebSocket(location.href.replace(/^http/, "ws"))
    window.sockets.push(ws)
    ws.onerror = () => fail(new Error("socket " + i + " failed"))
    ws.onclose = e => fail(new Error("socket " + i + " was closed: " + e.code + " " + e.reason))
    ws.onopen = () => {
      ws.timer = setInterval(() => ws.send("hello from " + i), 1000)
    }
    ws.onmessage = e => {
      if (workers[i] === undefined) { workers[i] = JSON.parse(e.data).worker; return }
      const before = heard[i].size
      heard[i].add(e.data)
      if (before < sockets && heard[i].size === sockets && ++complete === sockets)
        done(JSON.stringify({workers, heard: heard.map(s => s.size), sample: [...heard[0]].sort()}))
    }
  }
})`

// TestFiftySocketsInABrowser runs the script in a real browser: every socket receives a message from every other one,
// and they are in different workers. Each sends hello once a second, because a browser opens its sockets one after the
// other, and late ones miss earlier messages.
func TestFiftySocketsInABrowser(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "3")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := startBrowser(ctx, t)
	tab := b.open(ctx, "http://"+s.addr+"/")

	var title string
	b.evaluate(ctx, tab, `document.title`, &title)
	if title != "Expedite" {
		t.Errorf("title of the page: got %q, want Expedite", title)
	}
	var elsewhere string // what the page has loaded from other hosts
	b.evaluate(ctx, tab, `performance.getEntriesByType("resource").map(e => e.name)
		.filter(name => !name.startsWith(location.origin) && !name.startsWith("data:")).join(" ")`, &elsewhere)
	if elsewhere != "" {
		t.Errorf("the page asks other hosts: %s", elsewhere)
	}
	var report string
	b.evaluate(ctx, tab, fiftySockets, &report)
	var got struct {
		Workers []int
		Heard   []int
		Sample  []string
	}
	if err := json.Unmarshal([]byte(report), &got); err != nil {
		t.Fatalf("report %q: %v", report, err)
	}
	perWorker := make(map[int]int)
	for i, w := range got.Workers {
		perWorker[w]++
		if got.Heard[i] != 50 {
			t.Errorf("socket %d heard %d others, want 50", i, got.Heard[i])
		}
	}
	if len(got.Workers) != 50 || len(perWorker) != 3 {
		t.Errorf("sockets per worker: got %v, want 50 in 3 workers", perWorker)
	}
	for _, line := range got.Sample {
		if !strings.HasPrefix(line, "hello from ") {
			t.Errorf("a socket heard %q", line)
		}
	}
	s.reloadUnderABrowser(ctx, b, tab)
}

// hellosAgain waits until each of the fifty sockets has received another hello from every other one, and reports how
// many were closed.
const hellosAgain = `new Promise(done => {
  let complete = 0
  for (const ws of window.sockets) {
    const heard = new Set()
    ws.onmessage = e => {
      const before = heard.size
      heard.add(e.data)
      if (before < 50 && heard.size === 50 && ++complete === 50) done(window.dropped)
    }
  }
})`

// reloadUnderABrowser replaces the server while a page has sockets, none of which is closed.
func (s *server) reloadUnderABrowser(ctx context.Context, b *browser, tab string) {
	s.t.Helper()
	var count int
	b.evaluate(ctx, tab, `window.dropped = 0
		for (const ws of window.sockets) ws.onclose = () => window.dropped++
		window.sockets.length`, &count)
	for range 2 {
		out, err := exec.CommandContext(ctx, command, "reload", "--json", "--canary", "0s", "--control", s.control).Output()
		var res control.Result
		if err = errors.Join(err, json.Unmarshal(out, &res)); err != nil || res.Moved < 50 || !res.PrimaryReplaced {
			s.t.Errorf("reload: %v: %s", err, out)
		}
		var closed int
		b.evaluate(ctx, tab, hellosAgain, &closed)
		if count != 50 || closed != 0 {
			s.t.Errorf("%d of %d sockets were closed by a reload", closed, count)
		}
	}
}

// TestThePageOpensItsSockets clicks the button of the page.
func TestThePageOpensItsSockets(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "2")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := startBrowser(ctx, t)
	tab := b.open(ctx, "http://"+s.addr+"/")
	var shown string
	b.evaluate(ctx, tab, `new Promise(done => {
		document.getElementById("more").click()
		setInterval(() => {
			const shown = document.getElementById("workers").textContent
			const all = [...shown.matchAll(/worker \d+: (\d+)/g)]
			if (all.length === 2 && all.reduce((n, m) => n + +m[1], 0) === 51) done(shown)
		}, 50)
	})`, &shown)
	if !strings.Contains(shown, "worker 1: ") || !strings.Contains(shown, "worker 2: ") {
		t.Errorf("the page shows %q, want both workers", shown)
	}
}

// browser is a headless Chromium, controlled by its debugging protocol.
type browser struct {
	t    *testing.T
	conn *websocket.Conn
	last int
}

// startBrowser starts a Chromium with flags, which ends with the test.
func startBrowser(ctx context.Context, t *testing.T, flags ...string) *browser {
	t.Helper()
	path := findTool(t, "chromium", "chromium-browser", "google-chrome")
	args := append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-port=0", "--user-data-dir=" + t.TempDir(),
	}, flags...)
	cmd := exec.CommandContext(ctx, path, append(args, "about:blank")...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if _, a, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
				address <- a
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	select {
	case a := <-address:
		conn, _, err := websocket.Dial(ctx, a, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		t.Cleanup(func() { _ = conn.CloseNow() })
		return &browser{t: t, conn: conn}
	case <-drained:
		t.Fatal("chromium ended at once")
	case <-ctx.Done():
		t.Fatal("chromium does not start")
	}
	return nil
}

// call sends a command of the protocol and waits for its answer.
func (b *browser) call(ctx context.Context, tab, method string, params, result any) {
	b.t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method, "params": params}
	if tab != "" {
		request["sessionId"] = tab
	}
	if err := wsjson.Write(ctx, b.conn, request); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := wsjson.Read(ctx, b.conn, &answer); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if answer.ID != b.last {
			continue // an event
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if err := json.Unmarshal(answer.Result, result); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		return
	}
}

// open opens a page and waits until it is loaded.
func (b *browser) open(ctx context.Context, url string) (tab string) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	var navigated struct{ ErrorText string }
	b.call(ctx, session.SessionID, "Page.navigate", map[string]any{"url": url}, &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, navigated.ErrorText)
	}
	var state string
	b.evaluate(ctx, session.SessionID, `new Promise(done => {
		const check = () => document.readyState === "complete" ? done("complete") : setTimeout(check, 10)
		check()
	})`, &state)
	return session.SessionID
}

// evaluate runs JavaScript in a page, waits for its promise, and stores the value.
func (b *browser) evaluate(ctx context.Context, tab, script string, value any) {
	b.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call(ctx, tab, "Runtime.evaluate",
		map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &out)
	if x := out.ExceptionDetails; x != nil {
		b.t.Fatalf("script: %s %s", x.Text, x.Exception.Description)
	}
	if err := json.Unmarshal(out.Result.Value, value); err != nil {
		b.t.Fatal(fmt.Errorf("script's value %s: %w", out.Result.Value, err))
	}
}

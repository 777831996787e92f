package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestOtherPeoplesCompression runs clients that compress against a server that reloads meanwhile. Each client uses all
// parameters that it can offer.
func TestOtherPeoplesCompression(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"shared", "takeover"} {
		s := serve(t, "--workers", "2", "--compression", mode)
		for _, tt := range []struct {
			name    string
			program func(t *testing.T) *exec.Cmd
		}{
			{"npm ws", func(t *testing.T) *exec.Cmd { return nodeScript(t, "ws_deflate_client.mjs", "ws@8.18.3") }},
			{"npm undici", func(t *testing.T) *exec.Cmd { return nodeScript(t, "undici_deflate_client.mjs", "undici@7.16.0") }},
			{"Python websockets", func(t *testing.T) *exec.Cmd {
				return exec.Command(findTool(t, "/usr/bin/python3"), absolute(t, "testdata/websockets_deflate_client.py"))
			}},
		} {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				cmd := tt.program(t)
				cmd.Args = append(cmd.Args, mode, "ws://"+s.addr)
				s.reloadDuring(t, func() {
					out, err := cmd.CombinedOutput()
					if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("all fine")) {
						t.Errorf("%v\n%s", err, out)
					}
				})
			})
		}
	}
}

// reloadDuring reloads the server again and again until f returns.
func (s *server) reloadDuring(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		out, err := exec.Command(command, "reload", "--json", "--canary", "0s", "--control", s.control).CombinedOutput()
		if err != nil {
			t.Errorf("reload: %v: %s", err, out)
			<-done
			return
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestGoCompression checks clients of github.com/coder/websocket with and without context takeover, in the echo and in
// the lobby, where each message is compressed once for all.
func TestGoCompression(t *testing.T) {
	s := serve(t, "--workers", "2", "--compression", "takeover")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(path string, mode websocket.CompressionMode) *websocket.Conn {
		c, answer, err := websocket.Dial(ctx, "ws://"+s.addr+path, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		if got := answer.Header.Get("Sec-WebSocket-Extensions"); strings.Contains(got, "permessage-deflate") != (mode != 0) {
			t.Fatalf("mode %d: the server answers %q", mode, got)
		}
		c.SetReadLimit(-1)
		return c
	}
	var lobby []*websocket.Conn
	modes := []websocket.CompressionMode{
		websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover,
	}
	for _, mode := range append(modes, modes...) {
		c := dial("/", mode)
		if _, _, err := c.Read(ctx); err != nil { // the welcome
			t.Fatal(err)
		}
		lobby = append(lobby, c)
	}
	text := func(i int) string { return strings.Repeat(fmt.Sprintf(`{"number":%d,"text":"hello"} `, i), 1+i%50) }
	s.reloadDuring(t, func() {
		for _, mode := range modes {
			c := dial("/echo", mode)
			for i := range 200 {
				if err := c.Write(ctx, websocket.MessageText, []byte(text(i))); err != nil {
					t.Error(err)
					return
				}
				if _, got, err := c.Read(ctx); err != nil || string(got) != text(i) {
					t.Errorf("mode %d, message %d: %v, got %.40q", mode, i, err, got)
					return
				}
			}
		}
		for i := range 100 {
			if err := lobby[i%len(lobby)].Write(ctx, websocket.MessageText, []byte(text(i))); err != nil {
				t.Error(err)
				return
			}
			for k, c := range lobby {
				if _, got, err := c.Read(ctx); err != nil || string(got) != text(i) {
					t.Errorf("client %d, message %d: %v, got %.40q", k, i, err, got)
					return
				}
			}
		}
	})
}

// compressingPage talks to /echo and to the lobby with what a browser offers by itself.
const compressingPage = `new Promise(async (done, fail) => {
  const open = path => new Promise((r, f) => {
    const ws = new WebSocket(location.href.replace(/^http/, "ws").replace(/\/$/, path))
    const heard = [], waiting = []
    ws.onmessage = e => waiting.length ? waiting.shift()(e.data) : heard.push(e.data)
    ws.next = () => heard.length ? Promise.resolve(heard.shift()) : new Promise(r => waiting.push(r))
    ws.onopen = () => r(ws)
    ws.onclose = e => { f(e.code); fail(new Error("closed: " + e.code + " " + e.reason)) }
  })
  const echo = await open("/echo"), lobby = await open("/"), other = await open("/")
  await lobby.next(); await other.next()
  for (let i = 0; i < 300; i++) {
    const text = JSON.stringify({id: i, user: "user-" + i % 7, text: "the lazy dog sleeps ".repeat(1 + i % 60)})
    echo.send(text)
    lobby.send(text)
    for (const ws of [echo, lobby, other])
      if (await ws.next() !== text) return fail(new Error("message " + i + " differs"))
    await new Promise(r => setTimeout(r, 5))
  }
  done(echo.extensions)
})`

// TestCompressionInABrowser checks a browser with its own offer, while the server reloads.
func TestCompressionInABrowser(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"shared", "takeover"} {
		t.Run(mode, func(t *testing.T) {
			s := serve(t, "--workers", "2", "--compression", mode)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			b := startBrowser(ctx, t)
			tab := b.open(ctx, "http://"+s.addr+"/")
			s.reloadDuring(t, func() {
				var extensions string
				b.evaluate(ctx, tab, compressingPage, &extensions)
				if strings.Contains(extensions, "no_context_takeover") != (mode == "shared") ||
					!strings.HasPrefix(extensions, "permessage-deflate") {
					t.Errorf("got %q", extensions)
				}
			})
		})
	}
}

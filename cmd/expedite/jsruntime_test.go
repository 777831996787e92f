package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	jsclient "github.com/expedite-go/expedite/client"
)

// jsRuntime is where expedite.js runs: a page in a browser, or Node.js.
type jsRuntime struct {
	origin string // of the page; empty in Node.js
	run    func(ctx context.Context, t *testing.T, script string, value any)
}

// eval runs a script, waits for its promise, and stores its value.
func (r *jsRuntime) eval(ctx context.Context, t *testing.T, script string, value any) {
	t.Helper()
	r.run(ctx, t, script, value)
}

// do runs a script for its effect.
func (r *jsRuntime) do(ctx context.Context, t *testing.T, script string) {
	t.Helper()
	text, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	r.run(ctx, t, "Promise.resolve((0, eval)("+string(text)+")).then(() => 0)", new(int))
}

// onEachRuntime runs a test in a browser, and in Node.js with its own sockets and with those of the npm package ws. The
// page of the browser is of another origin than the servers, which have to be started with jsRuntime.serve.
func onEachRuntime(t *testing.T, test func(ctx context.Context, t *testing.T, r *jsRuntime)) {
	t.Parallel()
	for name, start := range map[string]func(context.Context, *testing.T) *jsRuntime{
		"Chromium": startPage,
		"Node.js":  func(ctx context.Context, t *testing.T) *jsRuntime { return startNode(ctx, t, "") },
		"npm ws":   func(ctx context.Context, t *testing.T) *jsRuntime { return startNode(ctx, t, "ws") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
			defer cancel()
			r := start(ctx, t)
			prelude, err := os.ReadFile("testdata/jsclient_prelude.js")
			if err != nil {
				t.Fatal(err)
			}
			r.run(ctx, t, string(prelude), new(bool))
			test(ctx, t, r)
		})
	}
}

// startPage opens a page that has nothing but the client.
func startPage(ctx context.Context, t *testing.T) *jsRuntime {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/expedite.js", jsclient.Handler())
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><script>globalThis.common = {}</script><script type="module">
			import { Expedite } from "/expedite.js"
			globalThis.Expedite = Expedite
		</script>`)
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	b := startBrowser(ctx, t)
	tab := b.open(ctx, site.URL+"/")
	return &jsRuntime{origin: site.URL, run: func(ctx context.Context, _ *testing.T, script string, value any) {
		b.evaluate(ctx, tab, script, value)
	}}
}

// startNode starts Node.js, with the sockets of an npm package or its own.
func startNode(ctx context.Context, t *testing.T, library string) *jsRuntime {
	t.Helper()
	var cmd *exec.Cmd
	if library == "" {
		cmd = exec.CommandContext(ctx, findTool(t, "node"), absolute(t, "testdata/jsclient_runner.mjs"))
		cmd.Env = append(os.Environ(), "NODE_OPTIONS="+nodeOptions(ctx, t))
	} else {
		cmd = nodeScript(t, "jsclient_runner.mjs", "ws@8.18.3")
	}
	cmd.Args = append(cmd.Args, absolute(t, "../../client/expedite.js"))
	if library != "" {
		cmd.Args = append(cmd.Args, library)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	return &jsRuntime{run: func(_ context.Context, t *testing.T, script string, value any) {
		t.Helper()
		err := json.NewEncoder(in).Encode(script)
		var line []byte
		if err == nil {
			line, err = lines.ReadBytes('\n')
		}
		if err != nil {
			t.Fatalf("Node.js has ended: %v", err)
		}
		var answer struct {
			Value json.RawMessage
			Error string
		}
		if err := json.Unmarshal(line, &answer); err != nil || answer.Error != "" {
			t.Fatalf("script: %v: %s", err, line)
		}
		if err := json.Unmarshal(answer.Value, value); err != nil {
			t.Fatalf("script's value %s: %v", answer.Value, err)
		}
	}}
}

// nodeOptions returns what makes Node.js have a global WebSocket: it is an option of versions 20 and 21.
func nodeOptions(ctx context.Context, t *testing.T) string {
	t.Helper()
	const option = "--experimental-websocket"
	node := findTool(t, "node")
	has := func(args ...string) bool {
		return exec.CommandContext(ctx, node, append(args, "-e", "process.exit(typeof WebSocket == 'function' ? 0 : 1)")...).Run() == nil
	}
	switch {
	case has():
		return ""
	case has(option):
		return option
	}
	t.Skip("this Node.js has no WebSocket of its own")
	return ""
}

// serve starts a server that pages of the runtime may connect to.
func (r *jsRuntime) serve(t *testing.T, args ...string) *server {
	t.Helper()
	return r.serveAt(t, "127.0.0.1:0", args...)
}

// serveAt is serve at an address.
func (r *jsRuntime) serveAt(t *testing.T, addr string, args ...string) *server {
	t.Helper()
	if r.origin != "" {
		args = append(args, "--origins", r.origin)
	}
	return serveAt(t, addr, args...)
}

// secretFile returns a file with testSecret.
func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

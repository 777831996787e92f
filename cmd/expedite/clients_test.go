package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// findTool returns the path of a program that the test needs. scripts/test-tools, which `make test` runs, installs
// them.
func findTool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("none of %v is installed: `make test` installs what is missing, if it may", names)
	return ""
}

// TestGoClients checks that a hundred clients of github.com/coder/websocket receive each other's messages across
// workers, in the order of each sender.
func TestGoClients(t *testing.T) {
	const clients, messages = 40, 25
	s := serve(t, "--workers", "3")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := make([]*client, clients)
	workers := make(map[int]int)
	for i := range all {
		all[i] = s.mustDial(ctx, "/")
		workers[all[i].hello.Worker]++
		if all[i].hello.Workers != 3 || all[i].hello.Type != "welcome" {
			t.Fatalf("got %+v, want a welcome of 3 workers", all[i].hello)
		}
	}
	if len(workers) != 3 {
		t.Errorf("clients per worker: got %v, want 3 workers", workers)
	}
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			for k := range messages {
				if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%d %d", i, k)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			if err := c.hearAll(ctx, clients, messages); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// hearAll reads the messages of all clients and checks that none is lost, duplicated or out of order.
func (c *client) hearAll(ctx context.Context, clients, messages int) error {
	next := make([]int, clients)
	for range clients * messages {
		_, b, err := c.Read(ctx)
		if err != nil {
			return err
		}
		from, k, ok := bytes.Cut(b, []byte(" "))
		sender, err1 := strconv.Atoi(string(from))
		number, err2 := strconv.Atoi(string(k))
		if !ok || err1 != nil || err2 != nil || number != next[sender] {
			return fmt.Errorf("heard %q, want message %d of that sender", b, next[sender])
		}
		next[sender]++
	}
	return nil
}

// TestOtherPeoplesClients runs scripts with other WebSocket implementations against the server.
func TestOtherPeoplesClients(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "2")
	for _, tt := range []struct {
		name    string
		program func(t *testing.T) *exec.Cmd
	}{
		{"npm ws", func(t *testing.T) *exec.Cmd { return nodeScript(t, "ws_client.mjs", "ws@8.18.3") }},
		{"npm undici", func(t *testing.T) *exec.Cmd { return nodeScript(t, "undici_client.mjs", "undici@7.16.0") }},
		{"Python websockets", func(t *testing.T) *exec.Cmd {
			// The package of the distribution belongs to the interpreter of the distribution.
			return exec.Command(findTool(t, "/usr/bin/python3"), absolute(t, "testdata/websockets_client.py"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := tt.program(t)
			cmd.Args = append(cmd.Args, "ws://"+s.addr)
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("all fine")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// nodeScript returns a script in a directory where npm has installed a package.
func nodeScript(t *testing.T, script, pkg string) *exec.Cmd {
	t.Helper()
	node, npm := findTool(t, "node"), findTool(t, "npm")
	dir := t.TempDir()
	source, err := os.ReadFile(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, script), source, 0o600); err != nil {
		t.Fatal(err)
	}
	install := exec.Command(npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", dir, pkg)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s: %v\n%s", pkg, err, out)
	}
	return exec.Command(node, filepath.Join(dir, script))
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

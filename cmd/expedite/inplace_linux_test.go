package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// wantOrigin checks the HTTP status of handshakes of pages of an origin, in every worker.
func (c *configured) wantOrigin(origin string, want, workers int) {
	c.t.Helper()
	for range 2 * workers {
		conn, resp, err := websocket.Dial(c.t.Context(), "ws://"+c.addr+"/echo", &websocket.DialOptions{
			HTTPHeader: http.Header{"Origin": {origin}},
		})
		if resp == nil {
			c.t.Fatalf("handshake: %v", err)
		}
		if resp.StatusCode != want {
			c.t.Errorf("handshake of %s: got %d, want %d", origin, resp.StatusCode, want)
		}
		if err == nil {
			_ = conn.CloseNow()
		}
	}
}

// TestSettingsInPlace checks that a reload of the same program that changes only live settings applies them in every
// process, replaces none, and says what has changed; that a worker that starts later has them, too; and that any other
// reload replaces all processes.
func TestSettingsInPlace(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	r.add("1")
	r.current("1")
	c := serveConfiguredAs(t, filepath.Join(r.dir, "current", "expedite"), "workers: 2\nlog-level: warn\n")
	client := c.mustDial(t.Context(), "/echo")
	before := lives(c.await("it serves", allReady))
	const app, other = "https://app.example", "https://other.example"
	c.wantOrigin(app, http.StatusForbidden, 2)

	c.write("origins: [" + app + "]\nmax-per-address: 100\nlog-level: info\n")
	c.wantInPlace("origins, max-per-address, log-level", before)
	if !strings.Contains(c.output.String(), "pages of "+app+" may connect now") {
		t.Error("the log does not warn of the new origin")
	}
	c.wantOrigin(app, http.StatusSwitchingProtocols, 2)
	eventually(t, "a worker logs at the level info", func() bool { return strings.Contains(c.output.String(), "client connected") })

	full := "origins: [" + app + "]\nmax-connections: 1\n"
	c.write(full)
	c.wantInPlace("max-connections, max-per-address, log-level", before)
	c.wantFull()
	client.wantTalk(t.Context(), t, "the client that was there")
	c.killWorker(1)
	c.killWorker(2)
	c.wantFull()

	before = lives(c.await("it serves", allReady))
	c.write("origins: [" + other + "]\nlog-level: info\n")
	c.signal(syscall.SIGHUP)
	eventually(t, "the HUP is logged", func() bool {
		return strings.Contains(c.output.String(), `"settings applied without a new process","changed":["origins","max-connections","log-level"]`)
	})
	c.wantOrigin(app, http.StatusForbidden, 2)
	c.wantOrigin(other, http.StatusSwitchingProtocols, 2)
	if now := lives(c.await("it serves", allReady)); now != before {
		t.Errorf("something was replaced: got %s, want %s", now, before)
	}
	c.reloadsAll(r, before, other)
}

// wantInPlace reloads, and checks that some settings have changed without a new process.
func (c *configured) wantInPlace(changed, before string) {
	c.t.Helper()
	out, err := c.reload()
	if want := "applied to 2 workers without a new process; changed: " + changed + "\n"; err != nil || !strings.HasPrefix(out, want) {
		c.t.Errorf("reload: %v, %s; want %q", err, out, want)
	}
	if now := lives(c.await("it serves", allReady)); now != before {
		c.t.Errorf("something was replaced: got %s, want %s", now, before)
	}
}

// wantFull opens connections, and checks that each worker soon has no room for another one.
func (c *configured) wantFull() {
	c.t.Helper()
	open := 0
	eventually(c.t, "all workers are full", func() bool {
		conn, resp, err := websocket.Dial(c.t.Context(), "ws://"+c.addr+"/echo", nil)
		if err == nil {
			c.t.Cleanup(func() { _ = conn.CloseNow() })
			open++
		}
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	if open > 2 {
		c.t.Errorf("%d connections were opened, want at most one per worker", open)
	}
}

// reloadsAll checks the reloads that replace all processes.
func (c *configured) reloadsAll(r releases, before, origin string) {
	c.t.Helper()
	live := "max-per-address: 100\norigins: [" + origin + "]\n"
	for _, tt := range []struct {
		name, file, says string
		release          func()
	}{
		{"another setting as well", live + "drain-timeout: 7s\n", "changed: drain-timeout, ", nil},
		{"nothing", live + "drain-timeout: 7s\n", "reloaded 2 workers", nil},
		{"another build", live + "drain-timeout: 7s\nlog-level: error\n", "changed: log-level", func() {
			program, err := os.ReadFile(command)
			if err != nil {
				c.t.Fatal(err)
			}
			r.addFile("2", append(program, 0))
			r.current("2")
		}},
	} {
		if tt.release != nil {
			tt.release()
		}
		c.write(tt.file)
		out, err := c.reload()
		if err != nil || !strings.Contains(out, tt.says) {
			c.t.Errorf("%s: %v, %s; want %q", tt.name, err, out, tt.says)
		}
		now := lives(c.await("it serves", func(st control.Status) bool { return allReady(st) && st.Rolling == nil }))
		if now == before {
			c.t.Errorf("%s: nothing was replaced", tt.name)
		}
		before = now
		c.wantOrigin(origin, http.StatusSwitchingProtocols, 2)
	}
}

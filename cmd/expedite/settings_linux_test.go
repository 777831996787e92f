package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/control"
)

// configured is a server with an expedite.yaml in its working directory.
type configured struct {
	*server
	file, base string
}

func serveConfigured(t *testing.T, base string, args ...string) *configured {
	t.Helper()
	return serveConfiguredAs(t, command, base, args...)
}

// serveConfiguredAs is like serveConfigured with the program at a path.
func serveConfiguredAs(t *testing.T, program, base string, args ...string) *configured {
	t.Helper()
	s := &server{
		t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{}),
	}
	dir := t.TempDir()
	c := &configured{s, filepath.Join(dir, configfile.Default), base + "addr: 127.0.0.1:0\nadmin: 127.0.0.1:0\ncontrol: " + s.control + "\n"}
	c.write("")
	s.start(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args[0] = program, program
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), secretEnv+"=a secret of thirty-two bytes, or more", "XDG_STATE_HOME="+t.TempDir())
	}, append([]string{"serve"}, args...))
	return c
}

// write writes the initial settings, and further ones that override them, to the file.
func (c *configured) write(more string) {
	c.t.Helper()
	text := ""
	for line := range strings.Lines(c.base) {
		if name, _, _ := strings.Cut(line, ":"); !strings.Contains("\n"+more, "\n"+name+":") {
			text += line
		}
	}
	if err := os.WriteFile(c.file, []byte(text+more), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// reload reloads when no other operation is under way, and returns the output.
func (c *configured) reload() (said string, failed error) {
	eventually(c.t, "nothing is under way", func() bool {
		out, err := exec.Command(command, "reload", "--canary", "0s", "--control", c.control).CombinedOutput()
		said, failed = string(out), err
		return err == nil || !strings.Contains(said, "is under way") // a change of workers follows a reload
	})
	return said, failed
}

// wantStatus checks the HTTP status of handshakes without a token, in every worker.
func (c *configured) wantStatus(want, workers int) {
	c.t.Helper()
	for range 2 * workers {
		conn, resp, err := websocket.Dial(c.t.Context(), "ws://"+c.addr+"/echo", nil)
		if resp == nil {
			c.t.Fatalf("handshake: %v", err)
		}
		if resp.StatusCode != want {
			c.t.Errorf("handshake without a token: got %d, want %d", resp.StatusCode, want)
		}
		if err == nil {
			_ = conn.CloseNow()
		}
	}
}

// TestOneConfiguration checks that every process of a server uses the settings that it was started with, whatever
// happens to the file, and that a reload refuses a missing or empty file and warns about what it opens.
func TestOneConfiguration(t *testing.T) {
	t.Parallel()
	c := serveConfigured(t, "workers: 1\nauth: required\n")
	c.wantStatus(http.StatusUnauthorized, 1)

	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	c.killWorker(1)
	c.wantStatus(http.StatusUnauthorized, 1)
	c.roll("scale", "2")
	c.wantStatus(http.StatusUnauthorized, 2)
	if out, err := c.reload(); err == nil || !strings.Contains(out, configfile.Default+", which this server was started with, is gone") {
		t.Errorf("reload without the file: %v, %s", err, out)
	}
	if err := os.WriteFile(c.file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.reload(); err == nil || !strings.Contains(out, "is empty") {
		t.Errorf("reload with an empty file: %v, %s", err, out)
	}
	c.killWorker(2)
	c.wantStatus(http.StatusUnauthorized, 2)

	c.write("auth: optional\norigins: [\"https://a.example\"]\n")
	c.killWorker(1) // the new file is not in force yet
	c.wantStatus(http.StatusUnauthorized, 2)
	out, err := c.reload()
	for _, want := range []string{"clients without a token are let in now", "pages of https://a.example may connect now", "program "} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("reload: %v, %s; want %q", err, out, want)
		}
		if want != "program " && !strings.Contains(c.output.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	c.wantStatus(http.StatusSwitchingProtocols, 2)
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	c.killWorker(1)
	c.wantStatus(http.StatusSwitchingProtocols, 2)
}

// changes has the value that each flag of serve is changed to at a reload, and the text of the refusal, if it is
// refused.
var changes = map[string]struct{ to, refused string }{
	"addr": {"127.0.0.1:0?trusted", ""}, "scheduling": {"none", "scheduling was"}, "control": {"/tmp/other", "control was"},
	"workers": {"3", ""}, "admin": {"127.0.0.1:0", ""}, "log-format": {"json", ""}, "log-level": {"warn", ""},
	"hang-timeout": {"40s", ""}, "max-worker-memory": {"1GiB", ""}, "drain-timeout": {"7s", ""}, "ping-interval": {"40s", ""},
	"idle-timeout": {"90s", ""}, "auth": {"required", ""}, "auth-secret-file": {"/nowhere", "auth-secret is set too"},
	"auth-keys": {"/nowhere", "/nowhere"}, "auth-jwks": {"nonsense", "expedite.yaml:5: auth-jwks"}, "auth-introspect": {"nonsense", "expedite.yaml:5: auth-introspect"},
	"auth-introspect-client": {"me", ""}, "auth-introspect-secret-file": {"/nowhere", "/nowhere"}, "redis-file": {"/nowhere", "/nowhere"}, "auth-issuer": {"me", ""}, "auth-audience": {"me", ""},
	"origins": {"https://a.example", ""}, "auth-leeway": {"1s", ""}, "redis": {"nonsense://", "expedite.yaml:5: redis"},
	"presence": {"lobby", ""}, "presence-lease": {"20s", ""},
	"close-on-gap": {"true", ""}, "history": {"room.*=100/1h", ""}, "max-history": {"1MiB", ""},
	"require-redis": {"true", "expedite.yaml:5: require-redis: wants"}, "session-ttl": {"2h", ""}, "session-empty-ttl": {"1m", ""},
	"max-sessions": {"1000", ""}, "max-sessions-per-user": {"3", ""}, "session-overflow": {"refuse-new", ""},
	"session-cookie": {"sid", ""}, "memory": {"1GiB", ""}, "memory-reserve": {"off", ""}, "gogc": {"200", ""}, "procs": {"2", ""},
	"conn-rate-in": {"1MiB", ""}, "conn-rate-out": {"1MiB", ""}, "rate-in": {"10MiB", ""}, "rate-out": {"10MiB", ""},
	"max-connections": {"1000", ""}, "max-handshakes": {"1000", ""}, "max-per-address": {"100", ""},
	"max-http-connections": {"100", ""}, "response-timeout": {"20s", ""}, "max-partial": {"10MiB", ""}, "max-queued": {"10MiB", ""},
	"max-pending": {"10MiB", ""}, "message-min-rate": {"off", ""}, "body-timeout": {"5s", ""}, "state-dir": {"", ""}, // set to a folder of the test
	"log-dir": {"/dev/null/x", "log-dir"}, "log-query": {"room", ""}, "log-header": {"X-App", ""}, "log-queue": {"100", ""},
	"auth-jwks-file": {"/nowhere", "/nowhere"}, "auth-introspect-file": {"/nowhere", "/nowhere"},
	"tls-cert": {"/nowhere", "needs its key"}, "tls-key": {"/nowhere", "needs its key"}, "tls-engine": {"std", "of no use without"},
	"tls-client-ca": {"/nowhere", "of no use without"}, "tls-min": {"1.3", "of no use without"},
	"tls-redirect": {"true", "of no use without"},
	"tls-auto":     {"127.0.0.1", "expedite.yaml:5: tls-auto"}, "tls-auto-ca": {"https://ca.test/dir", "of no use without"},
	"tls-auto-dir": {"/nowhere", "of no use without"}, "tls-auto-email": {"a@b.test", "of no use without"},
	"trusted-proxies": {"10.0.0.0/8", ""}, "proxy-protocol": {"true", "no peer is trusted"}, "max-message": {"2MiB", ""},
	"max-fragments": {"100", ""}, "max-head": {"16KiB", ""}, "message-rate": {"1000/1000", ""}, "message-rate-policy": {"drop", ""},
	"publish-rate": {"100", ""}, "connect-rate": {"1000/1000", ""}, "max-per-user": {"1000", ""},
	"log-sample": {"5", ""}, "compression": {"shared", ""}, "admin-hosts": {"https://a.example", "expedite.yaml:5: admin-hosts"},
}

// TestEverySetting checks that a reload applies each setting that has changed, or refuses it by its name before
// anything is replaced.
func TestEverySetting(t *testing.T) {
	t.Parallel()
	help, err := exec.Command(command, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := serveConfigured(t, "workers: 2\n")
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	client := c.mustDial(ctx, "/echo")
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		name := m[1]
		if name == "help" || name == "version" || name == "config" || name == "print-config" {
			continue
		}
		want, known := changes[name]
		if !known {
			t.Errorf("--%s: this test does not say what a reload makes of it", name)
			continue
		}
		if name == "state-dir" {
			want.to = t.TempDir()
		}
		c.write(fmt.Sprintf("%s: %q\n", name, want.to))
		before := lives(c.await("it serves", allReady))
		out, err := c.reload()
		switch {
		case want.refused == "" && err != nil:
			t.Errorf("--%s: %v, %s; want it to be applied", name, err, out)
		case want.refused != "" && (err == nil || !strings.Contains(out, want.refused)):
			t.Errorf("--%s: %v, %s; want a refusal that says %q", name, err, out, want.refused)
		case want.refused != "" && !regexp.MustCompile(`: expedite\.yaml:\d+: `+name+`\b`).MatchString(out):
			t.Errorf("--%s: %s; want the line of the file in front", name, out)
		case want.refused != "" && lives(c.await("it serves", allReady)) != before:
			t.Errorf("--%s: something was replaced", name)
		}
		if err := client.Write(ctx, websocket.MessageText, []byte(name)); err != nil {
			t.Fatalf("--%s: the client: %v", name, err)
		}
		if _, b, err := client.Read(ctx); err != nil || string(b) != name {
			t.Fatalf("--%s: the client: %q, %v", name, b, err)
		}
	}
	c.write("workers: 1\n")
	if out, err := c.reload(); err != nil {
		t.Errorf("reload: %v, %s", err, out)
	}
	c.await("there is one worker", func(st control.Status) bool { return len(st.Workers) == 1 && allReady(st) })
}

// TestRefusedHUP checks that a HUP that is refused is in the log once, with all errors of the file.
func TestRefusedHUP(t *testing.T) {
	t.Parallel()
	c := serveConfigured(t, "workers: 1\n")
	c.write("hang-timeout: 1s\nidle-timeout: 10s\n")
	c.signal(syscall.SIGHUP)
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(c.output.String(), "reload failed") })
	c.write("")
	if out, err := c.reload(); err != nil {
		t.Errorf("reload: %v, %s", err, out)
	}
	log := c.output.String()
	for _, want := range []string{"reload failed", "hang-timeout is 1s", "expedite.yaml:6: idle-timeout: "} {
		if n := strings.Count(log, want); want == "reload failed" && n != 1 || n == 0 {
			t.Errorf("%q is in the log %d times:\n%s", want, n, log)
		}
	}
}

// TestReloadDuringReload checks that a HUP during a reload is not lost, and that all processes run one program
// afterwards.
func TestReloadDuringReload(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	r.add("1")
	r.current("1")
	s := serveAs(t, func(cmd *exec.Cmd) {
		cmd.Path = filepath.Join(r.dir, "current", "expedite")
		cmd.Args[0] = cmd.Path
	}, "--workers", "3")
	r.add("2")
	third := r.add("3")
	r.current("2")
	s.signal(syscall.SIGHUP)
	s.await("the reload is under way", func(st control.Status) bool { return st.Rolling != nil })
	r.current("3")
	s.signal(syscall.SIGHUP)
	s.await("both reloads are done", func(st control.Status) bool { return st.Generation == 3 && st.Rolling == nil })
	s.wantProgram(third, 3)
}

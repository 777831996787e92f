package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/loadtest"
)

// benched is the outcome of `expedite bench --json`.
type benched struct {
	loadtest.Report
	code   int
	stderr string
}

// benchmark runs the command to its end.
func benchmark(t *testing.T, args ...string) benched {
	t.Helper()
	return finish(t, startBench(t, args...))
}

type benching struct {
	cmd         *exec.Cmd
	out, errors *syncBuffer
}

func startBench(t *testing.T, args ...string) *benching {
	t.Helper()
	r := &benching{cmd: exec.Command(command, append([]string{"bench", "--json"}, args...)...), out: &syncBuffer{}, errors: &syncBuffer{}}
	r.cmd.Dir = t.TempDir()
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.errors
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func finish(t *testing.T, r *benching) (b benched) {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	_ = r.cmd.Wait()
	b.code, b.stderr = r.cmd.ProcessState.ExitCode(), r.errors.String()
	if out := r.out.String(); out != "" {
		if err := json.Unmarshal([]byte(out), &b.Report); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}
	return b
}

// wantFine checks that n clients connected without errors.
func (b *benched) wantFine(t *testing.T, n uint64) {
	t.Helper()
	if b.code != 0 {
		t.Errorf("exit code: got %d, want 0; %s", b.code, b.stderr)
	}
	if c := b.Connections; c.Opened != n || c.Failed != 0 || len(c.Closed) != 0 || len(b.Errors) != 0 {
		t.Errorf("got %+v, errors %v, want %d opened and no trouble", c, b.Errors, n)
	}
}

// TestBenchModes checks that each mode works with a server of several worker processes, and finds these processes.
func TestBenchModes(t *testing.T) {
	s := serve(t, "--workers", "2")
	short := []string{"--ramp", "100ms", "--duration", "1s", "-c", "60"}
	t.Run("idle", func(t *testing.T) {
		b := benchmark(t, append(short, "ws://"+s.addr+"/")...)
		b.wantFine(t, 60)
		if b.Server == nil || len(b.Server.PIDs) != 3 || b.Server.RSSBytes == 0 {
			t.Errorf("server: got %+v, want a primary and two workers", b.Server)
		}
		if b.Messages.Received != 60 {
			t.Errorf("received: got %d, want a welcome for each of 60", b.Messages.Received)
		}
	})
	t.Run("echo", func(t *testing.T) {
		b := benchmark(t, append(short, "ws://"+s.addr+"/echo", "--rate", "10", "--size", "4KiB")...)
		b.wantFine(t, 60)
		if m := b.Messages; m.Sent == 0 || m.Received != m.Sent || m.BytesSent != 4096*m.Sent {
			t.Errorf("messages: got %+v, want some 600 of 4 KiB, all back", m)
		}
		if !b.Corrected || b.RTTSeconds.P99 == nil {
			t.Errorf("times: got %+v, corrected %t", b.RTTSeconds, b.Corrected)
		}
	})
	t.Run("broadcast", func(t *testing.T) {
		b := benchmark(t, append(short, "ws://"+s.addr+"/", "--mode", "broadcast", "--rate", "20", "--fail", "missing>0")...)
		b.wantFine(t, 60)
		if x := b.Broadcast; x == nil || x.Published == 0 || x.Delivered != 60*x.Published {
			t.Errorf("broadcast: got %+v, want each at each of 60", x)
		}
	})
	t.Run("storm", func(t *testing.T) {
		b := benchmark(t, append(short, "ws://"+s.addr+"/echo", "--mode", "storm", "--pause", "100ms")...)
		b.wantFine(t, 60*uint64(len(b.Storms)+1))
		if len(b.Storms) == 0 {
			t.Error("no storm")
		}
	})
}

// TestBenchCompression checks that bench counts every message with compression, echoed and broadcast, and that they are
// compressed, also if the server permits more than bench offers.
func TestBenchCompression(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"off", "shared", "takeover"} {
		s := serve(t, "--workers", "2", "--compression", mode)
		for _, args := range [][]string{{"/echo"}, {"/", "--mode", "broadcast"}} {
			args = append([]string{
				"ws://" + s.addr + args[0], "-c", "20", "--ramp", "0s", "--duration", "1s", "--rate", "20",
				"--size", "4KiB", "--compression",
			}, args[1:]...)
			b := benchmark(t, append(args, "--fail", "missing>0")...)
			b.wantFine(t, 20)
		}
		out, err := exec.Command(command, "status", "--json", "--control", s.control).Output()
		if err != nil || bytes.Contains(out, []byte(`"compressed"`)) != (mode != "off") {
			t.Errorf("compression %s: %v\n%s", mode, err, out)
		}
	}
}

// TestBenchReload checks that bench notices no loss during a reload.
func TestBenchReload(t *testing.T) {
	s := serve(t, "--workers", "2")
	r := startBench(t, "ws://"+s.addr+"/echo", "--mode", "echo", "--rate", "20", "-c", "50", "--ramp", "0s", "--duration", "0s",
		"--fail", "closed>0", "--fail", "unanswered>0")
	s.await("the clients are there", clientsAre(50))
	if out, err := exec.Command(command, "reload", "--control", s.control, "--canary", "0s").CombinedOutput(); err != nil {
		t.Errorf("reload: %v: %s", err, out)
	}
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	b := finish(t, r)
	b.wantFine(t, 50)
	if b.Messages.Sent == 0 || b.Messages.Received != b.Messages.Sent {
		t.Errorf("messages: got %+v", b.Messages)
	}
}

// TestBenchProcesses checks that client processes run the same program, and end with it.
func TestBenchProcesses(t *testing.T) {
	s := serve(t, "--workers", "2")
	b := benchmark(t, "ws://"+s.addr+"/echo", "-c", "2000", "--ramp", "2000/s", "--processes", "3", "--duration", "1s",
		"--local-addrs", "127.0.0.2,127.0.0.3")
	b.wantFine(t, 2000)
	if b.Client.Processes != 3 || b.Connections.Peak != 2000 {
		t.Errorf("got %d processes and %d at the peak", b.Client.Processes, b.Connections.Peak)
	}
}

// TestBenchInterrupt checks that Ctrl-C, which reaches all processes of a terminal, ends the run with a report.
func TestBenchInterrupt(t *testing.T) {
	s := serve(t, "--workers", "1")
	for _, processes := range []string{"1", "2"} {
		t.Run(processes, func(t *testing.T) {
			r := &benching{out: &syncBuffer{}, errors: &syncBuffer{}}
			r.cmd = exec.Command(command, "bench", "--json", "ws://"+s.addr+"/", "-c", "20", "--ramp", "0s", "--duration", "0s",
				"--processes", processes)
			r.cmd.Stdout, r.cmd.Stderr = r.out, r.errors
			r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := r.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			s.await("the clients are there", clientsAre(20))
			if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			b := finish(t, r)
			b.wantFine(t, 20)
			if !b.Interrupted || len(b.Failures) > 0 {
				t.Errorf("got %+v", b.Report)
			}
			s.await("the clients are gone", clientsAre(0))
		})
	}
}

// TestBenchServerDies checks that a run ends and reports it if the server is killed.
func TestBenchServerDies(t *testing.T) {
	s := serve(t, "--workers", "1")
	r := startBench(t, "ws://"+s.addr+"/echo", "-c", "20", "--ramp", "0s", "--duration", "1h", "--fail", "closed.1006>0")
	st := s.await("the clients are there", clientsAre(20))
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b := finish(t, r)
	if b.code != 1 || b.Connections.Closed["1006"] != 20 || !strings.Contains(b.stderr, "closed.1006>0: it is 20") {
		t.Errorf("got code %d, %+v, %s", b.code, b.Connections, b.stderr)
	}
}

// TestBenchErrors checks that errors are one clear line with the right exit code.
func TestBenchErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	_ = ln.Close()
	s := serve(t, "--workers", "1")
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody listens", []string{"ws://" + closed + "/"}, 1, "no connection could be opened"},
		{"no such path", []string{"ws://" + s.addr + "/nowhere"}, 1, "no connection could be opened"},
		{"a condition that holds", []string{"ws://" + s.addr + "/echo", "--fail", "opened>1"}, 1, "failed: opened>1: it is 3"},
		{"a time that was not measured", []string{"ws://" + s.addr + "/echo", "--fail", "rtt.p99>1h"}, 1, "nothing was measured"},
		{"a condition with an error", []string{"ws://" + s.addr + "/echo", "--fail", "rtt.p99>50"}, 2, "want a duration with its unit, like rtt.p99>50ms"},
		{"another machine", []string{"ws://192.0.2.1/"}, 2, "--yes-this-is-my-server"},
		{"no clients", []string{"ws://" + s.addr + "/", "-c", "0"}, 2, "--connections 0: want 1 or more"},
		{
			"a report that cannot be written",
			[]string{"ws://" + s.addr + "/", "--html", filepath.Join(dir, "missing", "x.html")},
			2,
			"--html: open",
		},
		{"no URL", []string{"127.0.0.1:8080"}, 2, "neither a URL like ws://127.0.0.1:8080/echo nor a script"},
		{"another scheme", []string{"ftp://127.0.0.1:8080"}, 2, "neither ws nor wss"},
		{"a short message", []string{"ws://" + s.addr + "/", "--size", "3"}, 2, "messages of 3 bytes"},
		{"a size with an error", []string{"ws://" + s.addr + "/", "--size", "big"}, 2, "--size"},
		{"a ramp with an error", []string{"ws://" + s.addr + "/", "--ramp", "fast"}, 2, "want a time like 5s, or a rate like 500/s"},
		{"a header without a colon", []string{"ws://" + s.addr + "/", "--header", "x"}, 2, "--header"},
		{"an address with an error", []string{"ws://" + s.addr + "/", "--local-addrs", "x"}, 2, "127.0.0.2"},
		{"processes with an error", []string{"ws://" + s.addr + "/", "--processes", "0"}, 2, "--processes"},
		{"an empty token file", []string{"ws://" + s.addr + "/", "--token-file", empty}, 2, "is empty"},
		{"a key that is not set", []string{"ws://" + s.addr + "/", "--token-key", secretEnv}, 2, "is not set"},
		{"two tokens", []string{"ws://" + s.addr + "/", "--token", "a", "--token-file", empty}, 2, "--token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := benchmark(t, append([]string{"-c", "3", "--ramp", "0s", "--duration", "100ms"}, tt.args...)...)
			if b.code != tt.code || !strings.Contains(b.stderr, tt.want) {
				t.Errorf("got code %d and %q, want %d and %q in it", b.code, b.stderr, tt.code, tt.want)
			}
		})
	}
}

// TestBenchKeepsResults checks that results are printed even if the HTML report cannot be written.
func TestBenchKeepsResults(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	s := serve(t, "--workers", "1")
	b := benchmark(t, "ws://"+s.addr+"/echo", "-c", "3", "--ramp", "0s", "--duration", "100ms", "--html", "/dev/full")
	if b.code != 1 || !strings.Contains(b.stderr, "the report is incomplete") {
		t.Errorf("got code %d and %q, want 1 and the cause", b.code, b.stderr)
	}
	if b.Connections.Opened != 3 {
		t.Errorf("opened: got %d, want the results of 3 clients on the standard output", b.Connections.Opened)
	}
}

// TestBenchLeavesNothing checks that a run that fails leaves an older report unchanged, and no empty one.
func TestBenchLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	old, none := filepath.Join(dir, "old.html"), filepath.Join(dir, "none.html")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{old, none} {
		if b := benchmark(t, "ws://192.0.2.1/", "-c", "1", "--html", file); b.code != 2 {
			t.Errorf("got code %d, %s", b.code, b.stderr)
		}
	}
	if got, err := os.ReadFile(old); string(got) != "old" {
		t.Errorf("older report: got %q, %v", got, err)
	}
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("an empty report: got %v, want none", err)
	}
}

// TestBenchHTML checks that --html writes a page in addition to the report.
func TestBenchHTML(t *testing.T) {
	s := serve(t, "--workers", "1")
	file := filepath.Join(t.TempDir(), "report.html")
	b := benchmark(t, "ws://"+s.addr+"/echo", "-c", "3", "--ramp", "0s", "--duration", "100ms", "--html", file)
	b.wantFine(t, 3)
	page, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(page, []byte("</html>")) {
		t.Errorf("got %d bytes, %v", len(page), err)
	}
}

// TestBenchTokens checks that each client has its own token.
func TestBenchTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("a key of thirty-two bytes or more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := (&benchCmd{benchHandshake: benchHandshake{TokenKey: file}}).tokens()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var c jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(tokens(i), &c, func(*jwt.Token) (any, error) {
			return []byte("a key of thirty-two bytes or more"), nil
		}, jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
		if err != nil || c.Subject != fmt.Sprint("bench-", i) {
			t.Errorf("client %d: got %q, %v", i, c.Subject, err)
		}
	}
	for name, h := range map[string]benchHandshake{"flag": {Token: "abc"}, "file": {TokenFile: file}} {
		tokens, err := (&benchCmd{benchHandshake: h}).tokens()
		if err != nil || tokens(1) == "" || tokens(1) != tokens(2) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if tokens, err := (&benchCmd{}).tokens(); tokens != nil || err != nil {
		t.Errorf("without: got some, %v", err)
	}
}

// clientsAre waits for n connections on the server.
func clientsAre(n int) func(control.Status) bool {
	return func(st control.Status) bool { return allReady(st) && int(st.Totals.Connections) == n }
}

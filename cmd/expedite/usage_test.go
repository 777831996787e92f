package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestWrongUse checks that bad flags, keys and files result in one clear line and the right exit code, and that nothing
// starts.
func TestWrongUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	free := []string{"--addr", "127.0.0.1:0", "--admin", "off", "--control", filepath.Join(dir, "control")}
	tests := []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"no command", nil, 2, []string{"expected one of"}},
		{"unknown command", []string{"sevre"}, 2, []string{"sevre"}},
		{"unknown flag", []string{"serve", "--adr", ":1"}, 2, []string{"--adr", "did you mean", "--addr"}},
		{"workers 0", []string{"serve", "--workers", "0"}, 2, []string{"--workers", `"0"`, "from 1"}},
		{"workers below 0", []string{"serve", "--workers=-1"}, 2, []string{"--workers", "-1"}},
		{"workers no number", []string{"serve", "--workers", "many"}, 2, []string{"--workers", "many", "auto"}},
		{"unknown scheduling", []string{"serve", "--scheduling", "random"}, 2, []string{"scheduling", "round-robin"}},
		{"address without a port", []string{"serve", "--addr", "localhost"}, 2, []string{"--addr", "localhost", "host:port"}},
		{"unknown log level", []string{"serve", "--log-level", "loud"}, 2, []string{"log-level", "debug"}},
		{"drain timeout 0", []string{"serve", "--drain-timeout", "0"}, 2, []string{"--drain-timeout"}},
		{"budget no size", []string{"serve", "--max-partial", "much"}, 2, []string{"--max-partial", "much", "512MiB"}},
		{"rate without a time", []string{"serve", "--message-min-rate", "1KiB"}, 2, []string{"--message-min-rate", "1KiB/10s"}},
		{"time of a body below zero", []string{"serve", "--body-timeout=-1s"}, 2, []string{"--body-timeout", "0 or more"}},
		{"rate of no time", []string{"serve", "--message-min-rate", "1KiB/0s"}, 2, []string{"--message-min-rate", "1KiB/10s"}},
		{"drain timeout no time", []string{"serve", "--drain-timeout", "soon"}, 2, []string{"--drain-timeout", "soon"}},
		{"file that is not there", []string{"serve", "--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml", "no such file"}},
		{
			"file with an unknown key",
			[]string{"serve", "--config", file("a.yaml", "addr: :0\nworker: 3\n")},
			2,
			[]string{"a.yaml:2: ", `"worker"`, `did you mean "workers"?`},
		},
		{"file that is no YAML", []string{"serve", "--config", file("b.yaml", "addr: [")}, 2, []string{"b.yaml:1: "}},
		{"file with a bad value", []string{"serve", "--config", file("c.yaml", "workers: 0\n")}, 2, []string{"c.yaml:1: workers", `"0"`}},
		{
			"port taken", append([]string{"serve", "--workers", "1", "--admin", "off", "--control", "off", "--addr"}, taken.Addr().String()), 1,
			[]string{"--addr", taken.Addr().String(), "address already in use"},
		},
		{
			"admin port taken", append([]string{"serve", "--workers", "1"}, append(free[:2:2], "--control", "off", "--admin", taken.Addr().String())...), 1,
			[]string{"--admin", taken.Addr().String(), "address already in use"},
		},
		{"control socket in a folder that is not there", append([]string{"serve", "--workers", "1"},
			"--addr", "127.0.0.1:0", "--admin", "off", "--control", filepath.Join(dir, "no", "control")), 1, []string{"--control", filepath.Join(dir, "no")}},
		{"logs in a folder that cannot be", append([]string{"serve", "--log-dir", "/dev/null/logs"}, free...), 1, []string{"--log-dir"}},
		{"a rate below zero", append([]string{"serve", "--procs=-1"}, free...), 2, []string{"--procs"}},
		{"a hang timeout that kills the healthy", append([]string{"serve", "--hang-timeout", "300ms"}, free...), 1, []string{"--hang-timeout is 300ms", "2s or more"}},
		{"pings that come too late", append([]string{"serve", "--idle-timeout", "30s", "--workers", "1"}, free...), 1, []string{"--ping-interval is 50s", "--idle-timeout 30s"}},
		{
			"port of a file taken",
			[]string{"serve", "--config", file("d.yaml", "admin: \"off\"\naddr: "+taken.Addr().String()+"\n")},
			1,
			[]string{"d.yaml:2: addr: ", "address already in use"},
		},
		{
			"admin port of a file taken",
			append([]string{"serve", "--config", file("e.yaml", "\nadmin: "+taken.Addr().String()+"\n"), "--control", "off"}, free[:2]...), 1,
			[]string{"e.yaml:2: admin: ", "address already in use"},
		},
		{"logs of a file in a folder that cannot be", append([]string{"serve", "--config", file("f.yaml", "log-dir: /dev/null/x\n")}, free...), 1, []string{"f.yaml:1: log-dir: "}},
		{"state of a file in a folder that cannot be", append([]string{"serve", "--config", file("g.yaml", "state-dir: /dev/null/x\n")}, free...), 1, []string{"g.yaml:1: state-dir: "}},
		{"control socket of a file in no folder", append([]string{"serve", "--config", file("h.yaml", "control: /nowhere/c\n")}, free[:4]...), 1, []string{"h.yaml:1: control: "}},
		{"a hang timeout of a file", append([]string{"serve", "--config", file("i.yaml", "hang-timeout: 1s\n")}, free...), 1, []string{"i.yaml:1: hang-timeout is 1s"}},
		{"a key file of a file", append([]string{"serve", "--config", file("j.yaml", "auth-keys: /nowhere\n")}, free...), 2, []string{"j.yaml:1: auth-keys: "}},
		{"status of nobody", []string{"status", "--control", filepath.Join(dir, "nobody")}, 1, []string{"nobody", "expedite serve"}},
		{"stop of nobody", []string{"stop", "--control", filepath.Join(dir, "nobody")}, 1, []string{"nobody", "expedite serve"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(command, tt.args...)
			cmd.Dir = dir
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("exit code: got %d, want %d", got, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("output %q does not say %q", out, w)
				}
			}
			if lines := strings.Count(strings.TrimSpace(string(out)), "\n") + 1; lines > 2 {
				t.Errorf("%d lines of output, want one, and one that says where to read on:\n%s", lines, out)
			}
		})
	}
}

// TestControlSocketTaken checks that a second server does not take the control socket of the first.
func TestControlSocketTaken(t *testing.T) {
	s := serve(t, "--workers", "1")
	out, err := exec.Command(command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control", s.control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("got %v %q, want an error that says that the socket is in use", err, out)
	}
	if _, err := s.status(); err != nil {
		t.Errorf("the first server does not answer any more: %v", err)
	}
}

// TestConfiguration checks that flags override the environment, which overrides the file.
func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "control")
	conf := "addr: 127.0.0.1:0\nadmin: \"off\"\nworkers: 3\nscheduling: none\nlog-level: error\ncontrol: " + socket + "\n"
	if err := os.WriteFile(filepath.Join(dir, "expedite.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, control: socket, output: &syncBuffer{}, ended: make(chan struct{})}
	s.cmd = exec.Command(command, "serve", "--scheduling", "least-connections")
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), "EXPEDITE_WORKERS=2", "EXPEDITE_SCHEDULING=round-robin")
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.cleanup)
	st := s.await("it serves", allReady)
	if len(st.Workers) != 2 || st.Scheduling != "least-connections" {
		t.Errorf("got %d workers and scheduling %q, want 2 of the environment and least-connections of the flag",
			len(st.Workers), st.Scheduling)
	}
	eventually(t, "the banner names the policy", func() bool {
		return strings.Contains(s.output.String(), "least-connections")
	})
}

// TestBrokenFileBesideCommands checks that an invalid configuration file does not affect a command that names the
// socket of its server, and that the error of one that needs the file names the file and no flag.
func TestBrokenFileBesideCommands(t *testing.T) {
	s := serve(t, "--workers", "1")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "expedite.yaml"), []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(command, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"serve"}, {"status"}} {
		if out, err := run(args...); err == nil || !strings.HasPrefix(out, "expedite: expedite.yaml:1: unknown key") {
			t.Errorf("%v: got %v %q, want an error that names the file", args, err, out)
		}
	}
	for _, name := range []string{"status", "sessions", "rebalance", "stop"} {
		if out, err := run(name, "--control", s.control); err != nil {
			t.Errorf("%s --control: %v\n%s", name, err, out)
		}
	}
	if code := s.waitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

// TestInterrupt checks that an interrupt ends the server without a drain, that clients are closed, and that workers
// exit by themselves.
func TestInterrupt(t *testing.T) {
	s := serve(t, "--workers", "1")
	client := s.mustDial(t.Context(), "/echo")
	s.raw(t, handshake("/echo")) // answers nothing
	s.signal(syscall.SIGINT)
	if _, _, err := client.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("got %v, want close code 1012", err)
	}
	if code := s.waitEnd(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	if out := s.output.String(); strings.Contains(out, "killed") {
		t.Errorf("a worker had no time to end:\n%s", out)
	}
}

// TestAdmin checks that metrics and profiles are on the admin listener only, and that metrics count.
func TestAdmin(t *testing.T) {
	s := serve(t, "--workers", "2")
	ctx := t.Context()
	for range 4 {
		s.mustDial(ctx, "/")
	}
	_, admin, ok := strings.Cut(s.output.String(), "http://127.0.0.1:")
	_, admin, ok2 := strings.Cut(admin, "admin")
	_, admin, ok3 := strings.Cut(admin, "http://")
	admin, _, ok4 := strings.Cut(admin, "/")
	if !ok || !ok2 || !ok3 || !ok4 {
		t.Fatalf("the banner names no admin listener:\n%s", s.output)
	}
	s.await("the metrics know the clients", func(_ control.Status) bool {
		body := get(t, "http://"+admin+"/metrics")
		return strings.Contains(body, `expedite_connections{worker="1"} 2`) &&
			strings.Contains(body, `expedite_connections{worker="2"} 2`)
	})
	if body := get(t, "http://"+admin+"/debug/pprof/cmdline"); !strings.Contains(body, "serve") {
		t.Errorf("/debug/pprof/cmdline: got %q", body)
	}
	resp, err := http.Get("http://" + s.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics on the public port: got %s, want 404", resp.Status)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(b)
}

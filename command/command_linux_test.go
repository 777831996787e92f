package command_test

import (
	"bufio"
	"encoding/json"
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
)

// patience limits every wait in these tests. Reaching it is a failure; no test depends on being faster.
const patience = 30 * time.Second

// program is that of testdata, built once by TestMain.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "command-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "chat")
	code := 1
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/chat").CombinedOutput(); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintf(os.Stderr, "%v: %s", err, out)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// service is the program, while it serves.
type service struct {
	t                 *testing.T
	control, greeting string // paths
}

// start starts the program in a folder with a configuration file, and returns it with the lines of its banner.
func start(t *testing.T) (s *service, banner string) {
	t.Helper()
	dir := t.TempDir()
	s = &service{t, filepath.Join(dir, "control"), filepath.Join(dir, "greeting")}
	s.greet("welcome")
	file := "addr: 127.0.0.1:0\nworkers: 2\nadmin: off\ncontrol: " + s.control + "\n"
	if err := os.WriteFile(filepath.Join(dir, "expedite.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--idle-timeout", "70s")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "CHAT_GREETING="+s.greeting, "XDG_STATE_HOME="+dir), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(4*patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the end of the server: %v", err)
		}
	})
	r := bufio.NewReader(out)
	for !strings.Contains(banner, "control ") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, banner)
		}
		banner += line
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the server
	return s, banner
}

// greet writes the file of the greeting.
func (s *service) greet(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.greeting, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// dial opens a connection, and returns a function that fails unless the next message is the one that it is given.
func (s *service) dial(addr string) (hears func(want string)) {
	s.t.Helper()
	ctx := s.t.Context()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/chat", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return func(want string) {
		s.t.Helper()
		if _, b, err := conn.Read(ctx); err != nil || string(b) != want {
			s.t.Fatalf("got %q, %v; want %q", b, err, want)
		}
	}
}

// run runs a command of the program, which is to succeed, and returns its output.
func (s *service) run(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(program, append(args, "--control", s.control)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// TestProgram checks that a program is served, configured and operated by the commands, under its own name, and that a
// client keeps its connection while the program is replaced, or is not because its setup fails.
func TestProgram(t *testing.T) {
	s, banner := start(t)
	for _, want := range []string{"  chat ", "(chat status, chat stop)", "2 processes", " and ws://127.0.0.1:"} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner does not say %q:\n%s", want, banner)
		}
	}
	var status struct {
		Addresses []string
		Workers   []struct{ PID int }
	}
	if err := json.Unmarshal([]byte(s.run("status", "--json")), &status); err != nil || len(status.Workers) != 2 {
		t.Fatalf("status: %+v, %v", status, err)
	}
	hears := s.dial(status.Addresses[0])
	hears("welcome")

	if err := os.Remove(s.greeting); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "reload", "--canary", "0s", "--control", s.control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "chat: CHAT_GREETING: name the file of the greeting") {
		t.Errorf("a reload without a greeting: got %v, %s; want the error of the setup", err, out)
	}
	s.greet("welcome back")
	if out := s.run("reload", "--canary", "0s"); !strings.Contains(out, "1 connection moved") {
		t.Errorf("reload: got %s", out)
	}
	s.dial(status.Addresses[0])("welcome back")
	s.run("publish", "room", "still here?")
	hears("still here?")
	if resp, err := http.Get("http://" + status.Addresses[0] + "/"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a page of the lobby: got %+v, %v; want none", resp, err)
	}
}

// TestSetupFails checks that an error of setup ends serve and config check, and that other commands do not call it.
func TestSetupFails(t *testing.T) {
	const want = "chat: CHAT_GREETING: name the file of the greeting: open : no such file or directory\n"
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"serve", "--control", "off", "--admin", "off"}, 1, want},
		{[]string{"config", "check"}, 2, want},
		{[]string{"token", "keygen"}, 0, "{\n"},
		{[]string{"serve", "--config", "none.yaml"}, 2, "chat: configuration file: open none.yaml"},
	} {
		cmd := exec.Command(program, tt.args...)
		cmd.Dir = t.TempDir()
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.HasPrefix(string(out), tt.want) {
			t.Errorf("%q: got %d, %s; want %d, %s", tt.args, code, out, tt.code, tt.want)
		}
	}
}

// TestWeight checks that programs do not contain what only bench needs.
func TestWeight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"goja", "internal/artillery", "internal/loadtest", "internal/lobby", "internal/scaffold"} {
		if strings.Contains(string(out), heavy) {
			t.Errorf("a program contains %s", heavy)
		}
	}
}

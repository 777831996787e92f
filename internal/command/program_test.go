package command

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
)

// patience limits every wait in these tests. Reaching it is a failure; no test depends on being faster.
const patience = 30 * time.Second

// actVariable makes the program of these tests act as a program with commands.
const actVariable = "EXPEDITE_TEST_ACT"

func TestMain(m *testing.M) {
	if os.Getenv(actVariable) != "" {
		os.Exit(program("expedite").Main())
	}
	os.Exit(m.Run())
}

// command returns a process that runs a command.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), actVariable+"=1")
	return cmd
}

// program returns a program with an App that has no endpoints.
func program(name string) *Program {
	return &Program{Name: name, About: "A test.", Setup: func(cfg expedite.Config) (*expedite.App, error) {
		return expedite.New(cfg), nil
	}}
}

// run runs a command in this process.
func run(args []string, stdout, stderr io.Writer) int {
	return program("expedite").Run(args, stdout, stderr)
}

// TestProgramsName checks that help and errors show the name of the program, and keep that of commands which it does not have.
func TestProgramsName(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "nobody")
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--help"}, 0, []string{"Usage: chat <command>", "  serve ", "  stop "}},
		{[]string{"serve", "--help"}, 0, []string{"Usage: chat serve", "  chat serve --addr", "like chat reload:"}},
		{[]string{"token", "new", "--help"}, 0, []string{"EXPEDITE_AUTH_SECRET=… chat token new --user alice"}},
		{[]string{"config", "check", "--help"}, 0, []string{"Checks what chat serve would", "  chat config check /etc/expedite.yaml"}},
		{[]string{"serve", "--adr", "x"}, 2, []string{"chat: unknown flag --adr", "Try: chat serve --help"}},
		{[]string{"bench", "ws://x"}, 2, []string{"chat: unexpected argument bench"}},
		{[]string{"status", "--control", nobody}, 1, []string{"chat: control: no Expedite is running at", "start one with `chat serve`"}},
		{[]string{"reload", "--json", "--control", nobody}, 1, []string{`"message": "control: no Expedite`, "start one with `chat serve`"}},
		{[]string{"serve", "--procs=-1"}, 2, []string{"chat: --procs:"}},
	} {
		var out bytes.Buffer
		code := program("chat").Run(tt.args, &out, &out)
		if code != tt.code {
			t.Errorf("%q: got the code %d, want %d", tt.args, code, tt.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: got %s\nwant %q in it", tt.args, &out, want)
			}
		}
		if strings.Contains(out.String(), "expedite serve") {
			t.Errorf("%q: got %s\nwhich names expedite", tt.args, &out)
		}
	}
	if got := program("chat").named("`expedite bench` or `expedite stop`"); got != "`expedite bench` or `chat stop`" {
		t.Errorf("got %s", got)
	}
}

// TestHelpOfServe checks that the help of serve, and of no other command, begins with the endpoints.
func TestHelpOfServe(t *testing.T) {
	p := program("chat")
	p.Endpoints = "Endpoints:\n  /chat a room"
	for command, want := range map[string]bool{"serve": true, "status": false, "config": false} {
		var out bytes.Buffer
		p.Run([]string{command, "--help"}, &out, &out)
		if got := strings.Contains(out.String(), "  /chat a room\n"); got != want {
			t.Errorf("%s: got %s", command, &out)
		}
	}
}

// TestSetup checks that serve and config check report what is wrong with the setup of an App and with the App.
func TestSetup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(expedite.Config) (*expedite.App, error)
		want  string
	}{
		{"an error", func(expedite.Config) (*expedite.App, error) {
			return nil, errors.New("the database does not answer")
		}, "chat: the database does not answer\n"},
		{"nothing", func(expedite.Config) (*expedite.App, error) { return nil, nil }, "chat: the setup function of the program returns"},
		{"a handler", func(cfg expedite.Config) (*expedite.App, error) {
			app := expedite.New(cfg)
			app.Handle("no path", expedite.Handler{})
			return app, nil
		}, `chat: path "no path"`},
		{"a setting of its own", func(cfg expedite.Config) (*expedite.App, error) {
			cfg.MaxHead = 1
			return expedite.New(cfg), nil
		}, "chat: --max-head is 1"},
	} {
		p := &Program{Name: "chat", Setup: tt.setup}
		for _, args := range [][]string{{"serve", "--admin", "off", "--control", "off"}, {"config", "check"}} {
			var out bytes.Buffer
			code := p.Run(args, &out, &out)
			if code == 0 || !strings.HasPrefix(out.String(), tt.want) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%s, %s: got %d, %q; want %q", tt.name, args[0], code, &out, tt.want)
			}
		}
	}
}

// syncBuffer is a buffer that is written to while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// lives returns all processes of a server.
func lives(st control.Status) string {
	list := fmt.Sprint("generation ", st.Generation)
	for _, w := range st.Workers {
		list += fmt.Sprintf(", slot %d: pid %d, generation %d", w.Slot, w.PID, w.Generation)
	}
	return list
}

// TestReloadRehearses checks that a reload changes nothing if the next primary could not open what it needs, and that
// it restores a control socket whose file was removed.
func TestReloadRehearses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	logs := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{}),
	}
	file := filepath.Join(t.TempDir(), "expedite.yaml")
	key := filepath.Join(t.TempDir(), "key")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("addr: 127.0.0.1:0\nadmin: 127.0.0.1:0\ncontrol: %s\nlog-dir: %s\nworkers: 2\n", s.control, logs)
	write(file, good)
	s.start(func(*exec.Cmd) {}, []string{"serve", "--config", file})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := s.mustDial(ctx, "/")
	before := lives(s.await("it serves", allReady))

	for _, tt := range []struct {
		name, config, want string
	}{
		{"configuration file gone", "", "no such file"},
		{"configuration file broken", good + "nonsense: 1\n", "nonsense"},
		{"admin address taken", strings.Replace(good, "admin: 127.0.0.1:0", "admin: "+taken.Addr().String(), 1), "in use"},
		{"control socket that cannot be", strings.Replace(good, s.control, "/nowhere/at/all", 1), "/nowhere/at/all"},
		{"log folder gone", strings.Replace(good, logs, logs+"-gone", 1), "no such file"},
		{"key file gone", good + "auth: required\nauth-keys: " + key + "\n", "no such file"},
	} {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if tt.config != "" {
			write(file, tt.config)
		}
		out, err := exec.Command(command, "reload", "--canary", "0s", "--control", s.control).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), "nothing was changed") {
			t.Errorf("%s: %v, %s; want %q", tt.name, err, out, tt.want)
		}
		if after := lives(s.await("it still serves", allReady)); after != before {
			t.Errorf("%s: %s, before %s", tt.name, after, before)
		}
	}

	write(file, good)
	if err := os.Remove(s.control); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.await("the primary is replaced", func(st control.Status) bool { return st.Generation == 2 && allReady(st) })
	if err := c.Ping(c.CloseRead(ctx)); err != nil {
		t.Errorf("the client: %v", err)
	}
}

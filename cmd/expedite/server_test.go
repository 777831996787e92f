package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/lobby"
)

// patience limits every wait in these tests. Reaching it is a failure; no test depends on being faster.
const patience = 90 * time.Second

// command is the program, built once by TestMain.
var command string

func TestMain(m *testing.M) {
	if os.Getenv(fleetVariable) != "" {
		os.Exit(runFleetMachine())
	}
	if os.Getenv(roomVariable) != "" {
		os.Exit(runRoom())
	}
	if os.Getenv(mutualVariable) != "" {
		os.Exit(runMutual())
	}
	dir, err := os.MkdirTemp("", "expedite-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	command = filepath.Join(dir, "expedite")
	build := exec.Command("go", "build", "-o", command, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	code := 1
	if err := errors.Join(os.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state")), build.Run()); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// server is an `expedite serve` that the test started.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	control string
	output  *syncBuffer
	ended   chan struct{}
	err     error // of the process; after ended
	addr    string
}

// serve starts the command on a free port and waits until it serves.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	return serveAs(t, func(*exec.Cmd) {}, args...)
}

// serveAt is like serve, at an address that is not that of every test. On a host like 127.35.0.1 no other test uses a
// port meanwhile, so a server can come back at the port of one that has ended.
func serveAt(t *testing.T, addr string, args ...string) *server {
	t.Helper()
	return serveAs(t, func(cmd *exec.Cmd) { cmd.Args[slices.Index(cmd.Args, "--addr")+1] = addr }, args...)
}

// serveTo is like serve, with an output of its own.
func serveTo(t *testing.T, out *os.File, args ...string) *server {
	t.Helper()
	return serveAs(t, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = out, out }, args...)
}

// serveBy is like serve, but starts another program with arguments, which then executes the command.
func serveBy(t *testing.T, by []string, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath(by[0])
	if err != nil {
		t.Fatal(err)
	}
	return serveAs(t, func(cmd *exec.Cmd) { cmd.Path, cmd.Args = path, slices.Concat(by, cmd.Args) }, args...)
}

// serveAs is like serve, with a command that prepare changes.
func serveAs(t *testing.T, prepare func(*exec.Cmd), args ...string) *server {
	t.Helper()
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	args = append([]string{"serve", "--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--control", s.control}, args...)
	return s.start(prepare, args)
}

// start starts the server that a test has created, and waits until it serves.
func (s *server) start(prepare func(*exec.Cmd), args []string) *server {
	t := s.t
	t.Helper()
	s.cmd = exec.Command(command, args...)
	s.cmd.Dir = t.TempDir()
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	prepare(s.cmd)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.cleanup)
	st := s.await("it serves", func(st control.Status) bool { return len(st.Addresses) > 0 && allReady(st) })
	s.addr = st.Addresses[0]
	return s
}

func allReady(st control.Status) bool {
	for _, w := range st.Workers {
		if w.State != control.StateReady {
			return false
		}
	}
	return len(st.Workers) > 0
}

func (s *server) cleanup() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Error("the server did not end after TERM")
	}
	if s.t.Failed() {
		s.t.Logf("output of the server:\n%s", s.output)
	}
}

// status runs `expedite status --json`.
func (s *server) status() (control.Status, error) {
	var st control.Status
	out, err := exec.Command(command, "status", "--json", "--control", s.control).Output()
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// await requests the status until it is as wanted.
func (s *server) await(what string, ok func(control.Status) bool) control.Status {
	s.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := s.status()
		if err == nil && ok(st) {
			return st
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended (%v) while the test waited until %s:\n%s", s.err, what, s.output)
		case <-deadline:
			s.t.Fatalf("waited in vain until %s; last status %+v, error %v", what, st, err)
		case <-tick.C:
		}
	}
}

// signal sends a signal to the primary.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// waitEnd waits for the end of the primary and returns its exit code.
func (s *server) waitEnd() int {
	s.t.Helper()
	select {
	case <-s.ended:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		s.t.Fatal("the server does not end")
		return -1
	}
}

// client is a WebSocket client of another implementation (github.com/coder/websocket).
type client struct {
	*websocket.Conn
	hello lobby.Welcome
}

// dial connects; in the lobby it reads the welcome.
func (s *server) dial(ctx context.Context, path string) (*client, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+path, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1)
	c := &client{Conn: conn}
	if path != "/" && !strings.HasPrefix(path, "/?") {
		return c, nil
	}
	_, b, err := conn.Read(ctx)
	if err != nil {
		return nil, errors.Join(err, conn.CloseNow())
	}
	if err := json.Unmarshal(b, &c.hello); err != nil {
		return nil, errors.Join(fmt.Errorf("welcome %q: %w", b, err), conn.CloseNow())
	}
	return c, nil
}

// mustDial is like dial, but a failure ends the test.
func (s *server) mustDial(ctx context.Context, path string) *client {
	s.t.Helper()
	c, err := s.dial(ctx, path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// syncBuffer is a buffer that a process may write to while a test reads.
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

package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSetupChangesLaterWorkersOnly(t *testing.T) {
	o := startOrders(t, Config{Workers: 1, Env: []string{"COLOUR=red"}}, "ask")
	first := o.Workers()[0]
	before, dir, out := o.Settings(), t.TempDir(), &buffer{}
	o.Setup(Settings{Dir: dir, Args: []string{"-x", "y"}, Stdout: out})
	if e := o.await(EventSetup, 0); e.Worker != nil {
		t.Errorf("setup event is about worker %d", e.Worker.Slot())
	}
	o.Setup(Settings{Env: append(slices.Clone(before.Env), "COLOUR=blue")})
	o.await(EventSetup, 0)
	got := o.Settings()
	if got.Exec != before.Exec || got.Dir != dir || !slices.Equal(got.Args, []string{"-x", "y"}) || got.Stdout != out {
		t.Errorf("settings %+v: what was not set must stay", got)
	}
	o.expect(first, "env COLOUR", "red")
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o.expect(first, "cwd", cwd)

	second, err := o.Fork()
	if err != nil {
		t.Fatal(err)
	}
	o.await(EventReady, 2)
	o.expect(second, "env COLOUR", "blue")
	o.expect(second, "cwd", dir)
	o.expect(second, "args", "[-x y]")
	o.expect(second, "print hello", "printed")
	eventually(t, "what it printed arrives", func() bool { return out.String() == "hello\n" })

	_ = first.Kill(9) // its successor is a later worker, too
	o.await(EventReady, 1)
	o.expect(o.Workers()[0], "env COLOUR", "blue")
}

func TestSettingsAreACopy(t *testing.T) {
	g := start(t, Config{Workers: 1, Credential: &Credential{
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Groups: groups(t),
	}}, "serve")
	s := g.Settings()
	s.Env[0] = "changed"
	s.Credential.UID = 12345
	if now := g.Settings(); now.Env[0] == "changed" || now.Credential.UID == 12345 {
		t.Errorf("settings %+v were changed from outside", now)
	}
}

// groups returns the groups of this process: without privileges a process can set only the same ones.
func groups(t *testing.T) []uint32 {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("setting groups takes root")
	}
	return nil
}

func TestCredential(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	o := startOrders(t, Config{Workers: 1}, "ask")
	o.expect(o.Workers()[0], "who", who(t))
	o.Setup(Settings{Exec: publicCopy(t), Dir: "/", Credential: &Credential{UID: 65534, GID: 65533, Groups: []uint32{7}}})
	w, err := o.Fork()
	if err != nil {
		t.Fatal(err)
	}
	o.await(EventReady, 2)
	o.expect(w, "who", "65534 65533 [7]")
}

// who returns the report of a worker of the same user.
func who(t *testing.T) string {
	t.Helper()
	return (&testWorker{}).execute("who", nil)
}

// publicCopy copies this test binary to a file that all users may execute.
func publicCopy(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "worker")
	syscall.ForkLock.RLock() // a child that is forked now would have the file open, which prevents its execution
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(name, b, 0o755), os.Chmod(name, 0o755)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestProgramThatCannotStart(t *testing.T) {
	g := start(t, Config{Workers: 1}, "serve")
	exe := g.Settings().Exec
	g.Setup(Settings{Exec: "/nowhere/at-all"})
	var se *StartError
	if _, err := g.Fork(); !errors.As(err, &se) || se.Slot != 2 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Fork: %v, want a StartError of slot 2", err)
	}
	if n := len(g.Workers()); n != 1 {
		t.Errorf("%d workers, want 1: what was not forked has no slot", n)
	}
	_ = g.Workers()[0].Kill(9)
	if e := g.await(EventError, 1); !errors.As(e.Err, &se) || !errors.Is(e.Err, fs.ErrNotExist) {
		t.Errorf("event %v, want what kept the next worker from starting", e.Err)
	}
	g.Setup(Settings{Exec: exe})
	g.await(EventReady, 1)
}

package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stuck is a writer that blocks until the end of the test.
type stuck struct{ end chan struct{} }

func newStuck(t *testing.T) stuck {
	s := stuck{make(chan struct{})}
	t.Cleanup(sync.OnceFunc(func() { close(s.end) }))
	return s
}

func (s stuck) Write(b []byte) (int, error) {
	<-s.end
	return len(b), nil
}

func TestNobodyTakesTheOutput(t *testing.T) {
	r, full, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	defer r.Close()
	answers := make(chan string, 10)
	g := start(t, Config{
		Workers: 2, Listen: anyPort, Stdout: full, Stderr: newStuck(t),
		OnMessage: func(_ *Worker, m []byte) { answers <- string(m) },
	}, "wordy")
	for _, w := range g.Workers() {
		if err := w.Send([]byte("ready")); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, answers); got != "ready" {
			t.Errorf("answer %q", got)
		}
	}
	g.dialSome(10)
	if _, err := g.Reload(t.Context(), RollOptions{}); err != nil {
		t.Errorf("reload: %v", err)
	}
	if lost := g.Stats().OutputLost; lost == 0 {
		t.Error("no lost output was counted")
	}
	if killed := g.Stop(); killed != 0 {
		t.Errorf("%d workers had to be killed", killed)
	}
}

// wait receives.
func wait[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	return v
}

// lines is a writer whose content can be read concurrently.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func TestOutputIsCompleteWhenItIsTaken(t *testing.T) {
	answers := make(chan string, 10)
	var out lines
	g := start(t, Config{
		Workers: 1, Stdout: &out, OutputLimit: 8 << 20,
		OnMessage: func(_ *Worker, m []byte) { answers <- string(m) },
	}, "wordy")
	if err := g.Workers()[0].Send([]byte("ready")); err != nil {
		t.Fatal(err)
	}
	wait(t, answers)
	g.Stop()
	out.mu.Lock()
	defer out.mu.Unlock()
	if n := out.b.Len(); n != 4<<20 {
		t.Errorf("%d bytes, want %d", n, 4<<20)
	}
	if lost := g.Stats().OutputLost; lost != 0 {
		t.Errorf("%d bytes were lost", lost)
	}
}

func TestExecWhileNobodyTakesTheOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // the reading end, which is never read
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var full error
	if err := raw.Control(func(fd uintptr) {
		for full == nil {
			_, full = unix.Write(int(fd), make([]byte, 4096))
		}
	}); err != nil {
		t.Fatal(err)
	}
	l := startPrimaryProcess(t, "number", stderrEnv+"="+path)
	for generation := 2; generation < 5; generation++ {
		l.exec(generation)
	}
}

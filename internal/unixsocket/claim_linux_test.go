package unixsocket

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestListenRace checks that of many listeners that find the socket of a dead process, one gets it.
func TestListenRace(t *testing.T) {
	path := socket(t)
	for range 20 {
		dead, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		dead.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = dead.Close()
		var wg sync.WaitGroup
		won := make(chan *Listener, 8)
		for range cap(won) {
			wg.Go(func() {
				s, err := Listen(path)
				if err == nil {
					won <- s
				} else if !strings.Contains(err.Error(), "in use") {
					t.Errorf("got %q, want an error that the socket is in use", err)
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Errorf("%d listeners got the socket, want 1", len(won))
		}
		for s := range won {
			onlyFile(t, path)
			_ = s.Close()
			_ = s.Remove()
		}
	}
}

// socket returns a path for a socket. That of t.TempDir is too long on some systems.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// onlyFile fails if the folder of path contains anything else.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name() != filepath.Base(path) {
		t.Errorf("files: got %v, want the socket", files)
	}
}

// TestLock checks that one caller at a time holds the lock, and that no file is left.
func TestLock(t *testing.T) {
	name := socket(t)
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				unlock, err := lock(name)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock at a time, want 1", n)
				}
				runtime.Gosched()
				holders.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if files, err := os.ReadDir(filepath.Dir(name)); err != nil || len(files) != 0 {
		t.Errorf("files: got %v, %v, want none", files, err)
	}
}

package control

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

// TestListenRace: of many servers that find a dead one's socket, one gets it and the others say so.
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
		won := make(chan *Server, 8)
		for range cap(won) {
			wg.Go(func() {
				s, err := Listen(path)
				if err == nil {
					won <- s
				} else if !strings.Contains(err.Error(), "in use") {
					t.Errorf("got %q, want it to say that the socket is in use", err)
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Errorf("%d servers got the socket, want 1", len(won))
		}
		for s := range won {
			onlyFile(t, path)
			_ = s.Close()
		}
	}
}

// TestLock: one at a time holds it, and nothing is left of it.
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

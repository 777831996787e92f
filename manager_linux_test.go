package expedite

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServiceManagerAlone: a process that serves alone tells the service manager of its life, too. A reload, which it
// does not know how to do, ends at once.
func TestServiceManagerAlone(t *testing.T) {
	dir, err := os.MkdirTemp("", "") // short: the name of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	want := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			b := make([]byte, 4096)
			for got := ""; !strings.HasPrefix(got, line); {
				if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				n, err := manager.Read(b)
				if err != nil {
					t.Fatalf("waiting for %s: %v", line, err)
				}
				got = string(b[:n])
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	ctx, cancel := context.WithCancel(t.Context())
	app, ended := New(Config{Workers: -1, Addr: "127.0.0.1:0"}), make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	want("READY=1", "WATCHDOG=1", "WATCHDOG=1")
	if err := app.Reload(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	want("RELOADING=1", "READY=1")
	cancel()
	want("STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

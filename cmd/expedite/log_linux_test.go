package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/control"
)

// fill writes into a pipe until it is full.
func fill(t *testing.T, f *os.File) {
	t.Helper()
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
}

// echoes opens clients one after the other and waits for an echo on each.
func (s *server) echoes(ctx context.Context, clients int) {
	s.t.Helper()
	for range clients {
		c := s.mustDial(ctx, "/echo")
		if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			s.t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != "hello" {
			s.t.Fatalf("echo %q, %v", b, err)
		}
		_ = c.CloseNow()
	}
}

// TestNobodyReadsTheLog checks that a full pipe or file blocks no client, no worker and no reload, and that the server
// survives the end of the pipe's reader.
func TestNobodyReadsTheLog(t *testing.T) {
	for name, files := range map[string]bool{"of standard output and error": false, "in files": true} {
		t.Run(name, func(t *testing.T) {
			r, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			fill(t, out)
			args := []string{"--workers", "2", "--log-sample", "1000000", "--log-queue", "1", "--log-level", "debug"}
			if files {
				dir := t.TempDir()
				args = append(args, "--log-dir", dir)
				for _, name := range []string{"primary.log", "worker-1.log", "worker-2.log"} {
					name = filepath.Join(dir, name)
					if err := unix.Mkfifo(name, 0o600); err != nil {
						t.Fatal(err)
					}
					f, err := os.OpenFile(name, os.O_RDWR, 0)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					fill(t, f)
				}
			}
			s := serveTo(t, out, args...)
			_ = out.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s.echoes(ctx, 20)
			s.await("dropped lines are counted", func(st control.Status) bool { return st.Totals.Limits["log_queue"] > 0 })
			reload := func() {
				t.Helper()
				if out, err := exec.Command(command, "reload", "--canary", "0s", "--control", s.control).CombinedOutput(); err != nil {
					t.Fatalf("reload: %v\n%s", err, out)
				}
			}
			reload()
			s.echoes(ctx, 20)
			_ = r.Close()
			s.echoes(ctx, 20)
			reload()
			s.echoes(ctx, 20)
			s.signal(syscall.SIGTERM)
			if code := s.waitEnd(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

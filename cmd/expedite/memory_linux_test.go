package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// openRaw opens a WebSocket and returns its socket, which has a small receive buffer.
func (s *server) openRaw(path string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
		return err
	}}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	if err != nil {
		return c, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return c, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return c, errors.New(resp.Status)
	}
	return c, nil
}

// neverEnding returns a message of 1 MiB without its last byte.
func neverEnding() []byte {
	frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, make([]byte, 1<<20))
	return frame[:len(frame)-1]
}

// sendAll makes count clients send what on path, and keeps them open until the test ends.
func (s *server) sendAll(count int, path string, what []byte) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for range count {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := s.openRaw(path)
			if c != nil {
				s.t.Cleanup(func() { _ = c.Close() })
			}
			if err == nil {
				_, _ = c.Write(what) // the server may close the connection
			}
		})
	}
	wg.Wait()
}

// hit waits until a limit was hit, and returns how often.
func (s *server) hit(limit string) uint64 {
	s.t.Helper()
	st := s.await(limit+" was hit", func(st control.Status) bool { return st.Totals.Limits[limit] > 0 })
	return st.Totals.Limits[limit]
}

// TestMaxPartial checks that clients whose messages never end are closed with 1013 beyond --max-partial, that slow ones
// are closed with 1008, and that other clients are not affected.
func TestMaxPartial(t *testing.T) {
	s := serve(t, "--workers", "1", "--max-partial", "4MiB", "--message-min-rate", "2MiB/1s")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	good := s.echoers(ctx, 3)
	s.sendAll(20, "/echo", neverEnding())
	s.hit("partial")
	s.hit("message_min_rate")
	s.await("all that do not end are closed, by one limit or the other", func(st control.Status) bool {
		return st.Totals.Limits["partial"]+st.Totals.Limits["message_min_rate"] == 20
	})
	good.echo(ctx)
}

// echoers are clients of /echo.
type echoers struct {
	t     *testing.T
	conns []*websocket.Conn
}

func (s *server) echoers(ctx context.Context, count int) *echoers {
	s.t.Helper()
	e := &echoers{t: s.t}
	for range count {
		c, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/echo", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = c.CloseNow() })
		e.conns = append(e.conns, c)
	}
	return e
}

// echo makes each client send a message and waits for the echo.
func (e *echoers) echo(ctx context.Context) {
	e.t.Helper()
	for i, c := range e.conns {
		want := fmt.Sprintf("message of client %d", i)
		if err := c.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			e.t.Fatalf("client %d: %v", i, err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			e.t.Fatalf("client %d: got %q, %v", i, got, err)
		}
	}
}

// memoryGroup creates a cgroup that limits the memory of its processes. It returns a program that executes another one
// in the group, and a function that returns the peak usage. It skips the test if that is not permitted.
func memoryGroup(t *testing.T, limit int64) (by []string, peak func() int64) {
	t.Helper()
	dir, limitFile, peakFile := "/sys/fs/cgroup", "memory.max", "memory.peak"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1
		dir = filepath.Join("/sys/fs/cgroup/memory", ownGroup("memory"))
		limitFile, peakFile = "memory.limit_in_bytes", "memory.max_usage_in_bytes"
	}
	dir, err := os.MkdirTemp(dir, "expedite-test-")
	if err != nil {
		t.Skipf("no memory cgroup of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Errorf("the cgroup is left: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(limit, 10)), 0o644); err != nil {
		t.Skipf("no limit for a memory cgroup: %v", err)
	}
	peak = func() int64 {
		b, err := os.ReadFile(filepath.Join(dir, peakFile))
		if err != nil {
			return 0
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n
	}
	return []string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir}, peak
}

// ownGroup returns the group of this process in a hierarchy of version 1.
func ownGroup(controller string) string {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && f[1] == controller {
			return f[2]
		}
	}
	return "/"
}

// TestPartialsInSmallMemory checks that 600 clients that each send 1 MiB without its last byte do not end a worker in
// 256 MiB, and that other clients are not affected: because of the budget or, without one, because of the memory guard.
func TestPartialsInSmallMemory(t *testing.T) {
	for _, tt := range []struct {
		limit   string
		clients int
		args    []string
	}{
		{"partial", 600, nil},
		{"memory_close", 300, []string{"--max-partial", "off"}},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			const limit = 256 << 20
			by, peak := memoryGroup(t, limit)
			s := serveBy(t, by, append(tt.args, "--workers", "2")...)
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			good := s.echoers(ctx, 20)
			s.sendAll(tt.clients, "/echo", neverEnding())
			good.echo(ctx)
			closed := s.hit(tt.limit)
			st, err := s.status()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of %d closed, %d of %d MiB used at most, limits %v",
				closed, tt.clients, peak()>>20, limit>>20, st.Totals.Limits)
			if st.Totals.Restarts != 0 {
				t.Errorf("%d workers have died", st.Totals.Restarts)
			}
		})
	}
}

// TestMaxQueued checks that clients of the lobby that do not read are closed when all queues together are too long,
// although none is at its own limit, and that others receive every message.
func TestMaxQueued(t *testing.T) {
	s := serve(t, "--workers", "1", "--max-queued", "4MiB")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const slow = 30
	s.sendAll(slow, "/", nil)
	good := s.mustDial(ctx, "/")
	for i := range 10_000 {
		want := fmt.Appendf(nil, "%06d%s", i, strings.Repeat("x", 900))
		if err := good.Write(ctx, websocket.MessageText, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := good.Read(ctx); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message %d: got %.10q, %v", i, got, err)
		}
		if i%500 != 499 {
			continue
		}
		st, err := s.status()
		if err != nil {
			t.Fatal(err)
		}
		if n := st.Totals.Limits["queued"]; n > 0 {
			if other := st.Totals.Limits["queue_close"]; other > 0 {
				t.Errorf("%d clients were closed for their own queue", other)
			}
			return
		}
	}
	t.Error("no client was closed")
}

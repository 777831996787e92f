//go:build linux

package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// manager is the service manager's end of a notification socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// listen opens a notification socket.
func listen(t *testing.T, name string) *manager {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &manager{t, conn}
}

// next returns the next notification; empty if none has been sent.
func (m *manager) next() string {
	b := make([]byte, 4096)
	_ = m.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) // notifications are there when send returns
	n, err := m.conn.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// want fails unless the next notification has all lines, and no others.
func (m *manager) want(lines ...string) {
	m.t.Helper()
	got := strings.Split(m.next(), "\n")
	if len(got) != len(lines) {
		m.t.Errorf("got %q, want %q", got, lines)
		return
	}
	for i, line := range lines {
		if ok, _ := filepath.Match(line, got[i]); !ok {
			m.t.Errorf("got %q, want %q", got, lines)
			return
		}
	}
}

func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "") // short: the name of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "notify")
}

// TestNotifications goes through a life, on a socket with a file and on an abstract one.
func TestNotifications(t *testing.T) {
	for kind, name := range map[string]string{
		"file": socketPath(t), "abstract": fmt.Sprintf("@expedite-test-%d", os.Getpid()),
	} {
		t.Run(kind, func(t *testing.T) {
			m := listen(t, name)
			connections, text := int64(7), "7 connections"
			n := New(Config{
				Environment: Environment{Socket: name}, Log: slog.New(slog.DiscardHandler),
				Status: func() (string, int64) { return text, connections },
			})
			n.Ready()
			m.want("READY=1", "STATUS=Serving")
			n.look()
			m.want("STATUS=7 connections")
			n.look()
			m.want("") // nothing has changed
			before := monotonic().Microseconds()
			n.Reloading(time.Second)
			m.want("RELOADING=1", "MONOTONIC_USEC=*", "EXTEND_TIMEOUT_USEC=31000000", "STATUS=Reloading")
			if before == 0 {
				t.Error("got no monotonic time")
			}
			n.look()
			m.want("STATUS=Reloading: 7 connections")
			n.Progress()
			n.look()
			m.want("EXTEND_TIMEOUT_USEC=30000000")
			n.look()
			m.want("") // no progress
			n.Ready()
			m.want("READY=1", "STATUS=Serving")
			n.Refused(errors.New("no\nway"))
			m.want("RELOADING=1", "MONOTONIC_USEC=*", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=Reloading")
			m.want("READY=1", "STATUS=Serving. The last reload failed: no way")
			n.look()
			m.want("STATUS=7 connections. The last reload failed: no way")
			n.Stopping()
			m.want("STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=Stopping")
			n.look()
			m.want("EXTEND_TIMEOUT_USEC=30000000", "STATUS=Stopping: 7 connections")
			n.look()
			m.want("") // no connection has ended
			connections = 6
			n.look()
			m.want("EXTEND_TIMEOUT_USEC=30000000")
			n.Ready() // of a reload that the stop has ended
			n.Reloading(0)
			m.want("")
		})
	}
}

// TestWatchdog: there is a sign of life twice within its time, and none while the check hangs.
func TestWatchdog(t *testing.T) {
	name := socketPath(t)
	m := listen(t, name)
	synctest.Test(t, func(t *testing.T) {
		done, checks := make(chan struct{}), 0
		n := New(Config{
			Environment: Environment{Socket: name, Watchdog: 10 * time.Second}, Log: slog.New(slog.DiscardHandler),
			Check: func() {
				if checks++; checks > 3 {
					<-done
				}
			},
			Status: func() (string, int64) { return "", 0 },
		})
		go n.Run(done)
		<-time.After(time.Minute) // of the bubble
		if checks != 4 {
			t.Errorf("got %d checks, want 4: the last one hangs", checks)
		}
		for range 3 {
			m.want("WATCHDOG=1")
		}
		m.want("")
		close(done)
	})
}

// TestNobodyListens: a notification that cannot be sent is logged, once.
func TestNobodyListens(t *testing.T) {
	var out bytes.Buffer
	n := New(Config{
		Environment: Environment{Socket: socketPath(t)}, Log: slog.New(slog.NewTextHandler(&out, nil)),
		Status: func() (string, int64) { return "", 0 },
	})
	n.Ready()
	n.Stopping()
	if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.Contains(out.String(), n.Socket) {
		t.Errorf("got %q, want one line about %s", out.String(), n.Socket)
	}
}

// TestFullQueue: a service manager that does not read holds nobody up for ever.
func TestFullQueue(t *testing.T) {
	name := socketPath(t)
	listen(t, name)
	n := New(Config{Environment: Environment{Socket: name}, Log: slog.New(slog.DiscardHandler)})
	for range 1000 {
		if err := n.write("STATUS=" + strings.Repeat("x", 1000)); err != nil {
			return
		}
	}
	t.Error("the queue never became full")
}

// TestEnvironment: the watchdog is that of this process, and the variables do not stay.
func TestEnvironment(t *testing.T) {
	own := fmt.Sprint(os.Getpid())
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", own, 30 * time.Second},
		{"30000000", "", 30 * time.Second},
		{"30000000", "1", 0},
		{"", own, 0},
		{"-1", own, 0},
		{"18446744073709551615", own, 0},
	} {
		t.Setenv(variableSocket, "@x")
		t.Setenv(variableWatchdog, tt.usec)
		t.Setenv(variablePID, tt.pid)
		if got, want := TakeEnvironment(), (Environment{"@x", tt.want}); got != want {
			t.Errorf("%q, %q: got %+v, want %+v", tt.usec, tt.pid, got, want)
		}
		if got := TakeEnvironment(); got != (Environment{}) {
			t.Errorf("the second time: got %+v, want nothing", got)
		}
	}
}

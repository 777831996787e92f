package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/control"
)

// notification is what a process has told the service manager in one datagram.
type notification struct {
	pid   int // of the sender
	lines []string
}

// has reports whether a line is part of the notification.
func (n notification) has(line string) bool { return n.value(line) != "" }

// value returns the line that begins with a prefix; empty if there is none.
func (n notification) value(prefix string) string {
	for _, line := range n.lines {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

// serviceManager is the socket of a service manager.
type serviceManager struct {
	t    *testing.T
	name string

	mu   sync.Mutex
	all  []notification
	read int // of all, by next
}

// startServiceManager opens an abstract socket, and reads it until the test ends.
func startServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	m := &serviceManager{t: t, name: fmt.Sprintf("@expedite-%d-%s", os.Getpid(), t.Name())}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the test does
		defer close(done)
		for m.receive(conn) {
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return m
}

func (m *serviceManager) receive(conn *net.UnixConn) bool {
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return false
	}
	got := notification{lines: strings.Split(string(b[:n]), "\n")}
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) == 1 {
		if cred, err := unix.ParseUnixCredentials(&messages[0]); err == nil {
			got.pid = int(cred.Pid)
		}
	}
	m.mu.Lock()
	m.all = append(m.all, got)
	m.mu.Unlock()
	return true
}

// next returns the next notification with a line. It skips others, but none that says that a reload begins or ends.
func (m *serviceManager) next(line string) (n notification) {
	m.t.Helper()
	eventually(m.t, "there is "+line, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for ; m.read < len(m.all); m.read++ {
			if n = m.all[m.read]; n.has(line) {
				m.read++
				return true
			}
			if n.has("RELOADING=1") || n.has("READY=1") || n.has("STOPPING=1") {
				m.t.Fatalf("got %q, want %s", n.lines, line)
			}
		}
		return false
	})
	return n
}

// wantReload waits for the notifications of a reload after a time of the monotonic clock, and returns the last one.
func (m *serviceManager) wantReload(after int64) notification {
	m.t.Helper()
	n := m.next("RELOADING=1")
	at, err := strconv.ParseInt(strings.TrimPrefix(n.value("MONOTONIC_USEC="), "MONOTONIC_USEC="), 10, 64)
	if err != nil || at < after || at > monotonicUsec(m.t) {
		m.t.Errorf("got %q, want the time of the reload, after %d", n.lines, after)
	}
	return m.next("READY=1")
}

func monotonicUsec(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// wantOnly fails if another process than the primary has sent anything.
func (m *serviceManager) wantOnly(pid int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.all {
		if n.pid != pid {
			m.t.Errorf("process %d sent %q: it is not the primary, %d", n.pid, n.lines, pid)
		}
	}
}

// serveUnder starts a program as a service manager does.
func (m *serviceManager) serveUnder(program string, args ...string) *server {
	return serveAs(m.t, func(cmd *exec.Cmd) {
		sh, err := exec.LookPath("sh")
		if err != nil {
			m.t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.name, "WATCHDOG_USEC=1000000")
		cmd.Args[0] = program
		cmd.Path, cmd.Args = sh, append([]string{"sh", "-c", `WATCHDOG_PID=$$ exec "$@"`, "sh"}, cmd.Args...)
	}, args...)
}

// TestSystemd follows what a service manager of Type=notify-reload is told, through reloads that succeed, that are
// refused and that fail, and through the primary's exec, to the end.
func TestSystemd(t *testing.T) {
	t.Parallel()
	r, m := newReleases(t), startServiceManager(t)
	r.add("1")
	r.current("1")
	s := m.serveUnder(filepath.Join(r.dir, "current", "expedite"), "--workers", "2")
	m.next("READY=1")
	m.next("STATUS=0 connections, 2 workers, generation 1")
	client := s.mustDial(t.Context(), "/echo")

	before := monotonicUsec(t)
	if out, err := s.expedite("reload", "--canary", "0s"); err != nil {
		t.Fatal(err, out)
	}
	m.wantReload(before)
	m.next("WATCHDOG=1") // of the program that has replaced the primary's
	m.next("STATUS=1 connection, 2 workers, generation 2")

	before = monotonicUsec(t)
	s.signal(syscall.SIGHUP)
	m.wantReload(before)

	r.addFile("2", []byte("#!/bin/sh\nexit 1\n"))
	r.current("2")
	before = monotonicUsec(t)
	if out, err := s.expedite("reload"); err == nil {
		t.Errorf("the reload to a broken program succeeded: %s", out)
	}
	if n := m.wantReload(before); !strings.Contains(n.value("STATUS="), "failed") {
		t.Errorf("got %q, want the failure of the reload", n.lines)
	}
	s.signal(syscall.SIGHUP)
	m.wantReload(before)

	st := s.await("all is ready", allReady)
	for _, w := range st.Workers {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.PID))
		if err != nil || strings.Contains(string(env), "NOTIFY_SOCKET") || strings.Contains(string(env), "WATCHDOG") {
			t.Errorf("worker %d has the variables of the service manager, or %v", w.Slot, err)
		}
	}
	client.wantTalk(t.Context(), t, "the client that was there")
	s.signal(syscall.SIGTERM)
	if n := m.next("STOPPING=1"); !n.has("EXTEND_TIMEOUT_USEC=") {
		t.Errorf("got %q, want more time", n.lines)
	}
	if code := s.waitEnd(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	m.wantOnly(st.PID)
}

// TestSystemdIsGone: a service manager that does not listen stops nothing, and is mentioned once.
func TestSystemdIsGone(t *testing.T) {
	t.Parallel()
	m := &serviceManager{t: t, name: filepath.Join(t.TempDir(), "gone")}
	s := m.serveUnder(command, "--workers", "1")
	if out, err := s.expedite("reload", "--canary", "0s"); err != nil {
		t.Fatal(err, out)
	}
	s.await("the primary is replaced", func(st control.Status) bool { return st.Generation == 2 && allReady(st) })
	if n := strings.Count(s.output.String(), "the service manager is not notified"); n != 2 { // once for each program
		t.Errorf("the log mentions it %d times, want 2", n)
	}
}

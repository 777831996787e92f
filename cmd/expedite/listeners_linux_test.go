package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// place is an address of a server, for net.Dial.
type place struct{ network, address string }

// places returns the addresses of a server.
func (s *server) places() (list []place) {
	s.t.Helper()
	st := s.await("it serves", func(st control.Status) bool { return len(st.Listeners) > 0 && allReady(st) })
	for _, l := range st.Listeners {
		list = append(list, place{strings.TrimRight(l.Network, "46"), l.Address})
	}
	return list
}

// dialAt connects a WebSocket at an address.
func dialAt(ctx context.Context, at place) (*websocket.Conn, error) {
	var d net.Dialer
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, at.network, at.address)
	}}}
	c, _, err := websocket.Dial(ctx, "ws://host/echo", &websocket.DialOptions{HTTPClient: web})
	return c, err
}

// visitor is a client that must stay connected, at one address.
type visitor struct {
	t    *testing.T
	at   place
	conn *websocket.Conn
	http net.Conn // kept alive
	said int
}

func visit(t *testing.T, at place) *visitor {
	t.Helper()
	conn, err := dialAt(t.Context(), at)
	if err != nil {
		t.Fatalf("%v: %v", at, err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	v := &visitor{t: t, at: at, conn: conn}
	if v.http, err = net.Dial(at.network, at.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.http.Close() })
	v.check("at once")
	return v
}

// check sends a message and a request, and waits for the answers.
func (v *visitor) check(when string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	v.said++
	text := strconv.Itoa(v.said)
	if err := v.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		v.t.Fatalf("%v, %s: %v", v.at, when, err)
	}
	if _, b, err := v.conn.Read(ctx); err != nil || string(b) != text {
		v.t.Fatalf("%v, %s: got %q, %v", v.at, when, b, err)
	}
	if _, err := io.WriteString(v.http, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		v.t.Fatalf("%v, %s: %v", v.at, when, err)
	}
	r, err := http.ReadResponse(bufio.NewReader(v.http), nil)
	if err != nil || r.StatusCode != http.StatusOK {
		v.t.Fatalf("%v, %s: HTTP %v, %v", v.at, when, r, err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
}

// TestAddressesChangeInReload: with each policy a server has addresses of each kind. Reloads add and remove some, and
// nobody is disconnected. Who connects to a Unix socket while it goes away is served, or was refused at once.
func TestAddressesChangeInReload(t *testing.T) {
	for _, policy := range []string{"round-robin", "least-connections", "none"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
			c := serveConfigured(t, "workers: 2\nscheduling: "+policy+"\n")
			c.write(fmt.Sprintf("addr: [%q, %q, %q]\n", "127.0.0.1:0", "[::1]:0", "unix:"+first+"?mode=0640"))
			kept := c.addr
			was := visit(t, place{"tcp", kept})
			if out, err := c.reload(); err != nil {
				t.Fatal(err, out)
			}
			was.check("after addresses were added")
			visitors := []*visitor{was}
			added := c.places()
			if len(added) != 3 || added[0].address != kept || added[2] != (place{"unix", first}) {
				t.Fatalf("got the addresses %v, want first %s and last %s", added, kept, first)
			}
			for _, at := range added {
				for range 8 {
					visitors = append(visitors, visit(t, at))
				}
			}
			if info, err := os.Stat(first); err != nil || info.Mode() != fsSocket|0o640 {
				t.Errorf("the socket: %v, %v; want mode 0640", info, err)
			}

			storm := storms(t, place{"unix", first})
			c.write(fmt.Sprintf("addr: [%q, %q]\n", "unix:"+second, "127.0.0.1:0"))
			if out, err := c.reload(); err != nil {
				t.Fatal(err, out)
			}
			if served := <-storm; served == 0 {
				t.Error("nobody was served while the socket went away")
			}
			left := c.places()
			if want := []place{{"unix", second}, {"tcp", kept}}; !slices.Equal(left, want) {
				t.Errorf("got the addresses %v, want %v", left, want)
			}
			for _, v := range visitors {
				v.check("after addresses were removed")
			}
			if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file of a socket that was removed: %v", err)
			}
			if _, err := net.Dial("tcp", added[1].address); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("an address that was removed: %v", err)
			}
			for _, at := range left {
				visitors = append(visitors, visit(t, at))
			}
			c.killWorker(1)
			for _, workers := range []string{"2", "3", "1"} {
				c.roll("scale", workers)
				for range 16 {
					visit(t, left[0])
					visit(t, left[1])
				}
			}
		})
	}
}

// fsSocket is the type of the file of a socket.
const fsSocket = os.ModeSocket

// storms connects again and again, until the address is gone, and sends the number of those that were served.
func storms(t *testing.T, at place) <-chan int {
	served := make(chan int, 1)
	go func() { // ends when the address is gone, or with the test
		n := 0
		defer func() { served <- n }()
		for {
			conn, err := net.Dial(at.network, at.address)
			if err != nil {
				if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
					t.Errorf("a client was not refused: %v", err)
				}
				return
			}
			_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			if err == nil {
				_, err = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			_ = conn.Close()
			if err != nil {
				t.Errorf("a client that had connected was not served: %v", err)
				return
			}
			n++
		}
	}()
	return served
}

// TestAddressThatCannotBeAdded: a reload that cannot open an address changes nothing, and opens none.
func TestAddressThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	socket := filepath.Join(t.TempDir(), "socket")
	c := serveConfigured(t, "workers: 2\n")
	v := visit(t, place{"tcp", c.addr})
	before, places := lives(c.await("it serves", allReady)), c.places()
	for _, bad := range []struct{ addr, place, says string }{ // the running program opens what the new one would find valid
		{taken.Addr().String(), "--addr: ", "address already in use"},
		{"unix:/nowhere/socket", "--addr: ", "create the folder first"},
		{"unix:" + socket + "x?group=nobodyhasthisname", "expedite.yaml:4: addr: ", "group"},
		{"systemd:web", "expedite.yaml:4: addr: ", "when it starts the service"},
	} {
		c.write(fmt.Sprintf("addr: [%q, %q, %q]\n", "127.0.0.1:0", "unix:"+socket, bad.addr))
		out, err := c.reload()
		if err == nil || !strings.Contains(out, bad.says) || !strings.Contains(out, bad.place) {
			t.Errorf("%s: got %v, %s; want an error that says %q", bad.addr, err, out, bad.says)
		}
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the other address stays open: %v", bad.addr, err)
		}
		if lives(c.await("it serves", allReady)) != before || !slices.Equal(c.places(), places) {
			t.Errorf("%s: something has changed", bad.addr)
		}
		v.check("after a reload that was refused")
	}
	c.write(fmt.Sprintf("addr: [%q, %q]\n", "127.0.0.1:0", "unix:"+socket))
	if out, err := c.reload(); err != nil {
		t.Fatal(err, out)
	}
	v.check("after a reload that was not refused")
	visit(t, place{"unix", socket})
}

// TestSocketFiles: what a dead server left is replaced, and nothing else. The file is of the owner alone whatever the
// umask, and goes with its server.
func TestSocketFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	by := []string{"sh", "-c", `umask 0; exec "$@"`, "sh"}
	s := serveBy(t, by, "--addr", "unix:"+path, "--workers", "2")
	if info, err := os.Stat(path); err != nil || info.Mode() != fsSocket|0o600 {
		t.Errorf("the socket: %v, %v; want mode 0600", info, err)
	}
	visit(t, place{"unix", path})

	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ addr, says string }{
		{path, "is in use by pid " + strconv.Itoa(s.cmd.Process.Pid)},
		{plain, "is not a socket"},
		{"/" + strings.Repeat("a", 107), "108 bytes"},
		{filepath.Join(dir, "none", "socket"), "create the folder first"},
	} {
		out, err := exec.Command(command, "serve", "--addr", "unix:"+bad.addr, "--admin", "off", "--control", "off").CombinedOutput()
		if err == nil || !strings.Contains(string(out), bad.says) || !strings.Contains(string(out), "--addr") {
			t.Errorf("%s: got %v, %s; want an error of --addr that says %q", bad.addr, err, out, bad.says)
		}
	}
	if b, err := os.ReadFile(plain); err != nil || string(b) != "content" {
		t.Errorf("the file that was in the way: %q, %v", b, err)
	}

	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if _, err := os.Stat(path); err != nil {
		t.Errorf("nothing is left of a server that was killed: %v", err)
	}
	next := serve(t, "--addr", "unix:"+path, "--workers", "1")
	visit(t, place{"unix", path})
	next.signal(syscall.SIGTERM)
	next.waitEnd()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays after the end: %v", err)
	}
}

// TestIPVersions: an empty host serves IPv6 and IPv4, 0.0.0.0 only IPv4, and [::] can be told to serve IPv6 only.
func TestIPVersions(t *testing.T) {
	t.Parallel()
	for addr, serves := range map[string][2]bool{
		":0": {true, true}, "0.0.0.0:0": {true, false}, "[::]:0?ipv6only": {false, true}, "[::1]:0": {false, true},
	} {
		for _, policy := range []string{"round-robin", "none"} {
			s := serve(t, "--addr", addr, "--workers", "1", "--scheduling", policy)
			all := s.places()
			_, port, err := net.SplitHostPort(all[1].address)
			if err != nil {
				t.Fatal(err)
			}
			for i, host := range []string{"127.0.0.1", "::1"} {
				c, err := net.Dial("tcp", net.JoinHostPort(host, port))
				if (err == nil) != serves[i] {
					t.Errorf("%s with %s, from %s: %v, want it served: %t", addr, policy, host, err, serves[i])
				}
				if err == nil {
					_ = c.Close()
				}
			}
		}
	}
}

// TestSystemdSockets: sockets that systemd passes are served with each policy, also after reloads. Workers know nothing
// of the protocol.
func TestSystemdSockets(t *testing.T) {
	for _, policy := range []string{"round-robin", "none"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			var files []*os.File
			var want []place
			for _, at := range []place{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(t.TempDir(), "s")}, {"tcp", "[::1]:0"}} {
				ln, err := net.Listen(at.network, at.address)
				if err != nil {
					t.Fatal(err)
				}
				f, err := ln.(interface{ File() (*os.File, error) }).File()
				if err != nil {
					t.Fatal(err)
				}
				files, want = append(files, f), append(want, place{at.network, ln.Addr().String()})
				if u, ok := ln.(*net.UnixListener); ok {
					u.SetUnlinkOnClose(false)
				}
				_ = ln.Close()
			}
			dir := t.TempDir()
			write := func(addr string) {
				t.Helper()
				text := "addr: " + addr + "\nworkers: 2\nadmin: 127.0.0.1:0\nscheduling: " + policy + "\n"
				if err := os.WriteFile(filepath.Join(dir, "expedite.yaml"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("[systemd:web, systemd:app]")
			s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
			s.start(func(cmd *exec.Cmd) {
				sh, err := exec.LookPath("sh")
				if err != nil {
					t.Fatal(err)
				}
				// The process id is known only in the process itself.
				cmd.Path, cmd.Args = sh, append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)
				cmd.Dir, cmd.ExtraFiles = dir, files
				cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES=web:app:other")
			}, []string{"serve", "--control", s.control})
			got := s.places()
			if !slices.Equal(got, want[:2]) {
				t.Errorf("got the addresses %v, want %v", got, want[:2])
			}
			if out := s.output.String(); !strings.Contains(out, "other") {
				t.Errorf("the log does not tell of the socket that is not used:\n%s", out)
			}
			visitors := []*visitor{visit(t, want[0]), visit(t, want[1])}
			s.wantNoActivation(files, policy)
			s.roll("reload", "--canary", "0s")
			for _, v := range visitors {
				v.check("after a reload")
			}
			visitors = append(visitors, visit(t, want[0]), visit(t, want[1]))
			s.wantNoActivation(files, policy)
			write("systemd:web?trusted")
			s.roll("reload", "--canary", "0s")
			for _, v := range visitors {
				v.check("after a reload with one socket less")
			}
			if got := s.places(); !slices.Equal(got, want[:1]) {
				t.Errorf("got the addresses %v, want %v", got, want[:1])
			}
			if _, err := os.Stat(want[1].address); err != nil {
				t.Errorf("the file of a socket of systemd: %v", err)
			}
		})
	}
}

// wantNoActivation checks that no process of the server has the variables of socket activation, and that workers have
// no copies of the sockets, except those from which they accept.
func (s *server) wantNoActivation(files []*os.File, policy string) {
	s.t.Helper()
	st, err := s.status()
	if err != nil {
		s.t.Fatal(err)
	}
	pids := []int{st.PID}
	for _, w := range st.Workers {
		pids = append(pids, w.PID)
	}
	for i, pid := range pids {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(string(env), "LISTEN_") && (i > 0 || st.Generation > 1) {
			s.t.Errorf("process %d has the variables of socket activation", pid)
		}
		copies := 0
		for _, f := range files {
			info, err := f.Stat()
			if err != nil {
				s.t.Fatal(err)
			}
			inode := fmt.Sprintf("socket:[%d]", info.Sys().(*syscall.Stat_t).Ino)
			list, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
			if err != nil {
				s.t.Fatal(err)
			}
			for _, name := range list {
				if to, err := os.Readlink(name); err == nil && to == inode {
					copies++
				}
			}
		}
		if i > 0 && policy != "none" && copies > 0 {
			s.t.Errorf("worker %d has %d copies of the sockets", i, copies)
		}
	}
}

// TestTooFewRights: the error of a port below 1024 says what to do.
func TestTooFewRights(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if first, _ := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || first <= 1 {
		t.Skipf("all ports are for everybody on this machine: ip_unprivileged_port_start is %q, %v", b, err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "expedite")
	if out, err := exec.Command("cp", command, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "serve", "--addr", "127.0.0.1:1", "--admin", "off", "--control", "off", "--workers", "1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--addr") || !strings.Contains(string(out), "CAP_NET_BIND_SERVICE") {
		t.Errorf("got %v, %s; want an error that names the capability", err, out)
	}
}

// TestSystemdItself: a client of a socket of systemd makes systemd start the server, which serves that client.
func TestSystemdItself(t *testing.T) {
	t.Parallel()
	activate := findTool(t, "systemd-socket-activate")
	path := filepath.Join(t.TempDir(), "s")
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	answer := make(chan error, 1)
	go func() { // ends when it was served, or with the limit
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		conn, err := net.Dial("unix", path)
		for limit := time.After(patience); err != nil; conn, err = net.Dial("unix", path) {
			select {
			case <-limit:
				answer <- err
				return
			case <-tick.C:
			}
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"); err == nil {
			_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		}
		answer <- err
	}()
	s.start(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = activate, slices.Concat([]string{activate, "-l", path, "--fdname=web"}, cmd.Args)
	}, []string{"serve", "--addr", "127.0.0.1:0,systemd:web", "--admin", "off", "--workers", "2", "--control", s.control})
	if err := <-answer; err != nil {
		t.Error(err)
	}
	visit(t, place{"unix", path})
}

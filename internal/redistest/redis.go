// Package redistest starts Redis servers for tests.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Patience limits every wait. A test that reaches it has failed.
const Patience = 60 * time.Second

// Server is a Redis server for one test.
type Server struct {
	t    testing.TB
	dir  string
	port int
	args []string // all of them
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// Start starts redis-server on a Unix socket in a folder of its own, and on a port of 127.0.0.1 that it keeps until the
// test ends. By default, it saves nothing; args are added. The server ends with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: `make test` installs what is missing, if it may")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, port: reservePort(t)}
	s.args = append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--unixsocket", s.socket(), "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	s.begin()
	return s
}

// begin starts the server, and ends it with the test.
func (s *Server) begin() {
	s.t.Helper()
	s.t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(s.dir)
	})
	s.Restart()
}

// Restart starts a killed server on the same socket and port, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.log.Reset()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(Patience)
	for {
		if answer, err := s.try("PING"); err == nil && (answer == "PONG" || strings.HasPrefix(answer, "NOAUTH")) {
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("redis-server does not answer:\n%s", s.log.String())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone
	_ = s.cmd.Wait()         // says that it was killed
	s.cmd = nil
}

// PID returns the process id of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// URL returns the URL of the Unix socket.
func (s *Server) URL() string { return "unix://" + s.socket() }

// Addr returns the address of the TCP port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *Server) socket() string { return filepath.Join(s.dir, "s") }

// User makes a user that may do everything but what the rules forbid, and returns its URL.
func (s *Server) User(name string, rules ...string) string {
	s.t.Helper()
	all := append([]string{"ACL", "SETUSER", name, "reset", "on", ">pw", "~*", "&*", "+@all"}, rules...)
	if answer := s.Do(all...); answer != "OK" {
		s.t.Fatal(answer)
	}
	return fmt.Sprintf("redis://%s:pw@%s", name, s.Addr())
}

// Do sends a command and returns the answer as text: a string, a number, an error, or the items of a list as lines. It
// ends the test if there is no answer.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	answer, err := s.try(command...)
	for tries := 1; err != nil && command[0] == "INFO" && tries < 5; tries++ {
		answer, err = s.try(command...) // Sentinel ends the connections of a server when it makes it the primary
	}
	if err != nil {
		s.t.Fatalf("%v: %v", command, err)
	}
	return answer
}

// must sends a command and ends the test at another answer than want.
func (s *Server) must(want string, command ...string) {
	s.t.Helper()
	if got := s.Do(command...); got != want {
		s.t.Fatalf("%v: got %s, want %s", command, got, want)
	}
}

func (s *Server) try(command ...string) (string, error) {
	c, err := net.Dial("unix", s.socket())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
		return "", err
	}
	var b []byte
	b = fmt.Appendf(b, "*%d\r\n", len(command))
	for _, arg := range command {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := c.Write(b); err != nil {
		return "", err
	}
	return readAnswer(bufio.NewReader(c))
}

// readAnswer reads one value of RESP2.
func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimRight(line[1:], "\r\n")
	if kind != '$' && kind != '*' {
		return rest, nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return "", err
	}
	if kind == '$' {
		text := make([]byte, n+2)
		for got := 0; got < len(text); {
			k, err := r.Read(text[got:])
			if err != nil {
				return "", err
			}
			got += k
		}
		return string(text[:n]), nil
	}
	list := make([]string, 0, n)
	for range n {
		one, err := readAnswer(r)
		if err != nil {
			return "", err
		}
		list = append(list, one)
	}
	return strings.Join(list, "\n"), nil
}

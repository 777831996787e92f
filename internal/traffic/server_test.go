package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
)

// serverVariable holds the configuration of a test server; if it is set, the process runs as that server.
const serverVariable = "TRAFFIC_SERVER"

// serverConfig is the configuration of a test server.
type serverConfig struct {
	Workers    int
	Scheduling cluster.Policy
	Control    string
	Stall      time.Duration
	Hang       time.Duration
	Handshake  time.Duration
	Memory     int64
	Redis      string

	Compression expedite.Compression
	Cert, Key   []string
	Standard    bool // crypto/tls has all records
	ClientCA    string
}

// history returns the histories of a server that is alone.
func (c serverConfig) history() []expedite.HistoryRule {
	if c.Redis != "" {
		return nil
	}
	return Histories()
}

// runServer is the main function of a test server.
func runServer() int {
	var c serverConfig
	if err := json.Unmarshal([]byte(os.Getenv(serverVariable)), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	app := expedite.New(expedite.Config{
		Addr: "127.0.0.1:0", Workers: c.Workers, Scheduling: c.Scheduling, Control: c.Control, DrainTimeout: 10 * time.Second,
		Auth:        expedite.Auth{Verifier: auth.VerifierFunc(Verify)},
		Sessions:    expedite.Sessions{Redis: c.Redis},
		History:     c.history(),
		TLS:         expedite.TLS{Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA, Standard: c.Standard},
		Compression: c.Compression, HandoffStall: c.Stall, HangTimeout: c.Hang, MaxWorkerMemory: c.Memory,
		HandshakeTimeout: c.Handshake,
		OnStart:          func(s expedite.Started) { fmt.Println("serving on", s.Addresses[0]) },
	})
	Routes(app)
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// server is a running test server: a primary with its workers.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	binary  string
	addr    string
	control string
	audit   string
	logs    lockedBuffer
	stop    sync.Once
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// forever bounds waits in these tests. No test depends on a shorter time.
const forever = 120 * time.Second

// launch starts a server from a copy of binary, so that the test can replace the copy. It stops the server when the
// test ends. If binary is empty, launch uses the test binary.
func launch(t *testing.T, binary string, c serverConfig, env ...string) *server {
	t.Helper()
	if binary == "" {
		binary = self(t)
	}
	// t.TempDir's path may be too long for a Unix socket.
	dir, err := os.MkdirTemp("", "traffic")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, binary: filepath.Join(dir, "server"), control: filepath.Join(dir, "c"), audit: filepath.Join(dir, "audit")}
	s.install(binary)
	c.Control = s.control
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(s.binary)
	s.cmd.Env = append(append(os.Environ(), serverVariable+"="+string(js), AuditVariable+"="+s.audit), env...)
	s.cmd.Stderr = &s.logs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	first := bufio.NewScanner(out)
	if !first.Scan() {
		t.Fatalf("the server did not start: %s", s.logs.String())
	}
	s.addr = strings.TrimPrefix(first.Text(), "serving on ")
	return s
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// install replaces the server's binary by renaming a new file over it, as a package manager does.
func (s *server) install(binary string) {
	s.t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		s.t.Fatal(err)
	}
	s.installBytes(b)
}

func (s *server) installBytes(b []byte) {
	s.t.Helper()
	syscall.ForkLock.RLock() // a child forked now would inherit the open file and cause "text file busy"
	defer syscall.ForkLock.RUnlock()
	draft := s.binary + ".new"
	if err := os.WriteFile(draft, b, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(draft, s.binary); err != nil {
		s.t.Fatal(err)
	}
}

// end stops the server gracefully and waits until it and its workers have ended.
func (s *server) end() {
	s.stop.Do(func() {
		workers := s.pids()
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- s.cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the server ended with %v", err)
			}
		case <-time.After(forever):
			s.t.Error("the server did not end in time")
			_ = s.cmd.Process.Kill()
		}
		for _, pid := range workers {
			if err := syscall.Kill(pid, 0); err == nil {
				s.t.Errorf("worker %d outlived the server", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if s.t.Failed() {
			s.t.Logf("the server's log:\n%s", s.logs.String())
		}
	})
}

// ask calls f with a client of the server's control socket.
func (s *server) ask(f func(ctx context.Context, c *control.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), forever)
	defer cancel()
	c, err := control.Dial(ctx, s.control)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

func (s *server) status() (st control.Status) {
	s.t.Helper()
	err := s.ask(func(ctx context.Context, c *control.Client) (err error) {
		st, err = c.Status(ctx)
		return err
	})
	if err != nil {
		s.t.Errorf("status: %v", err)
	}
	return st
}

// pids returns the process ids of the workers.
func (s *server) pids() (list []int) {
	err := s.ask(func(ctx context.Context, c *control.Client) error {
		st, err := c.Status(ctx)
		for _, w := range st.Workers {
			list = append(list, w.PID)
		}
		return err
	})
	if err != nil {
		return nil // it has already ended
	}
	return list
}

func (s *server) reload(req control.ReloadRequest) (res control.Result, err error) {
	err = s.ask(func(ctx context.Context, c *control.Client) (err error) {
		res, err = c.Reload(ctx, req, nil)
		return err
	})
	return res, err
}

func (s *server) scale(n int) (res control.Result, err error) {
	err = s.ask(func(ctx context.Context, c *control.Client) (err error) {
		res, err = c.Scale(ctx, control.ScaleRequest{Workers: n}, nil)
		return err
	})
	return res, err
}

func (s *server) rebalance() (res control.Result, err error) {
	err = s.ask(func(ctx context.Context, c *control.Client) (err error) {
		res, err = c.Rebalance(ctx, nil)
		return err
	})
	return res, err
}

// crowd starts the clients of cfg.
func (s *server) crowd(cfg Config) *Run {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), forever)
	defer cancel()
	cfg.Addr, cfg.Patience = s.addr, forever/2
	run, err := Start(ctx, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return run
}

// finish stops the clients and fails the test unless the report is clean.
func (s *server) finish(run *Run) Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*forever)
	defer cancel()
	r := run.Stop(ctx)
	if err := r.Err(); err != nil {
		s.t.Errorf("%v\n%s", err, strings.Join(r.Problems, "\n"))
	}
	return r
}

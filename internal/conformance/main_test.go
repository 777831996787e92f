package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

// TestMain runs the tests. If serverVariable is set, it runs a server for the tests, or one of its workers, instead.
func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		os.Exit(runServer())
	}
	goleak.VerifyTestMain(m)
}

// serverVariable holds the configuration of a test server.
const serverVariable = "CONFORMANCE_SERVER"

// serverConfig is the configuration of a test server.
type serverConfig struct {
	Workers     int
	Control     string
	Compression expedite.Compression
	Features    bool // everything that is off by default is on, with limits that no case reaches
}

// The endpoints of a test server. Both echo.
const (
	pathInline    = "/inline"
	pathGoroutine = "/goroutine"

	patternFeatures = "/features/{room}/{rest...}"
	pathFeatures    = "/features/a%20b/c/d"
)

// runServer is the main function of a test server.
func runServer() int {
	var c serverConfig
	if err := json.Unmarshal([]byte(os.Getenv(serverVariable)), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := expedite.Config{
		Addr: "127.0.0.1:0", Workers: c.Workers, Control: c.Control, Compression: c.Compression, DrainTimeout: 10 * time.Second,
		MaxHandshakes: 16384, MaxHTTPConnections: 16384, HandshakeTimeout: forever,
		// Cases wait for each other with incomplete messages, and all together hold more than a small machine allows.
		MessageMinRate: expedite.Progress{Bytes: -1},
		MaxPartial:     -1, MaxQueued: -1, MaxPending: -1,
		OnStart: func(s expedite.Started) { fmt.Println("serving on", s.Addresses[0]) },
	}
	if c.Features {
		many := expedite.EventRate{PerSecond: 1 << 20, Burst: 1 << 24}
		cfg.MessageRate, cfg.PublishRate, cfg.ConnectRate = many, many, many
		cfg.MaxPerAddress, cfg.MaxConnections, cfg.MaxPerUser = 1<<20, 1<<20, 1<<20
		cfg.TrustedProxies = []string{"127.0.0.0/8"}
		cfg.Tuning.ConnRate = expedite.Rate{In: 1 << 40, Out: 1 << 40}
	}
	app := expedite.New(cfg)
	echo := expedite.Handler{
		Message: func(c *expedite.Conn, m expedite.Message) {
			if string(m.Bytes()) == Question {
				m = expedite.Text(c.Remote().Addr().String())
			}
			c.Send(m)
		},
		Subprotocols: []string{SubprotocolA, SubprotocolB},
		MaxMessage:   LargestMessage, MaxFragments: LargestMessage, QueueLimit: 4 * LargestMessage,
		MailboxLimit: 4 * LargestMessage,
	}
	app.Handle(pathGoroutine, echo)
	echo.Inline = true
	app.Handle(pathInline, echo)
	echo.MaxLifetime = 24 * time.Hour
	app.Handle(patternFeatures, echo)
	mux := http.NewServeMux()
	mux.Handle(PlainPath, Requests())
	app.HTTP(mux)
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// server is a running test server.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	addr    string
	control string
	// deflates tells whether permessage-deflate is on.
	deflates bool
	// proxied tells whether peers are trusted proxies.
	proxied bool
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
const forever = 5 * time.Minute

// launch starts a server of a binary, or of the test binary if that is empty, and stops it when the test ends.
func launch(t *testing.T, binary string, c serverConfig) *server {
	t.Helper()
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	// t.TempDir's path may be too long for a Unix socket.
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, control: filepath.Join(dir, "c"), deflates: c.Compression != expedite.CompressionOff, proxied: c.Features}
	c.Control = s.control
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(binary)
	s.cmd.Env = append(os.Environ(), serverVariable+"="+string(js))
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

// end stops the server.
func (s *server) end() {
	s.stop.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- s.cmd.Wait() }() // ends with the server
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the server ended with %v", err)
			}
		case <-time.After(forever):
			s.t.Error("the server did not end in time")
			_ = s.cmd.Process.Kill()
		}
		if s.t.Failed() {
			s.t.Logf("the server's log:\n%.5000s", s.logs.String())
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

// move replaces the worker: its connections move to a new process.
func (s *server) move() error {
	return s.ask(func(ctx context.Context, c *control.Client) error {
		res, err := c.Reload(ctx, control.ReloadRequest{}, nil)
		if err == nil && (res.Failed > 0 || res.Moved == 0) {
			err = fmt.Errorf("conformance: %+v, want connections moved and none failed", res)
		}
		s.t.Logf("moved: %+v", res)
		return err
	})
}

// target returns an endpoint of the server.
func (s *server) target(name, path string) *Target {
	features := []Feature{Subprotocols, HTTP, Large, Limited}
	if s.deflates {
		features = append(features, Deflate)
	}
	if s.proxied {
		features = append(features, Proxied)
	} else {
		features = append(features, Direct)
	}
	return &Target{Name: name, Addr: s.addr, Path: path, Features: features, Patience: forever}
}

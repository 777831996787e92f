package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// fake is a target that answers as the test says.
type fake struct {
	Target  // nil: only the methods below are called
	status  Status
	nodes   NodeList
	err     error
	stopped chan StopRequest
	// operation is what reload, scale and rebalance do. req is nil for the last.
	operation func(ctx context.Context, req any, r Reporter) (Result, error)
}

func newFake() *fake { return &fake{stopped: make(chan StopRequest, 1)} }

func (f *fake) Status(context.Context) (Status, error) { return f.status, f.err }

func (f *fake) Stop(_ context.Context, req StopRequest) error {
	if f.err == nil {
		f.stopped <- req
	}
	return f.err
}

func (f *fake) Reload(ctx context.Context, req ReloadRequest, r Reporter) (Result, error) {
	return f.operation(ctx, req, r)
}

func (f *fake) Scale(ctx context.Context, req ScaleRequest, r Reporter) (Result, error) {
	return f.operation(ctx, req, r)
}

func (f *fake) Drain(context.Context, DrainRequest) error { return f.err }

func (f *fake) Ready(context.Context) (Readiness, error) { return Readiness{}, f.err }

func (f *fake) Nodes(context.Context) (NodeList, error) { return f.nodes, nil }

func (f *fake) Rebalance(ctx context.Context, r Reporter) (Result, error) {
	return f.operation(ctx, nil, r)
}

var _ Target = (*fake)(nil)

// socket returns a path for a socket. That of t.TempDir is too long on some systems.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// start serves target until the test ends.
func start(t *testing.T, path string, target Target) *Server {
	t.Helper()
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(target); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return s
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantError fails unless err contains all texts, in one line.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", want)
	}
	for _, w := range append(want, "control: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want it to say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q, want one line", err)
	}
}

func TestListenRefusesTheSocketOfALiveServer(t *testing.T) {
	path := socket(t)
	start(t, path, newFake())
	_, err := Listen(path)
	wantError(t, err, path, "in use", "another path")
	if _, err := dial(t, path).Status(t.Context()); err != nil {
		t.Errorf("the first server does not answer any more: %v", err)
	}
}

func TestListenReplacesTheSocketOfADeadServer(t *testing.T) {
	path := socket(t)
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, path, newFake())
	if _, err := dial(t, path).Status(t.Context()); err != nil {
		t.Error(err)
	}
	onlyFile(t, path)
}

// onlyFile fails if the folder of path contains anything else.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name() != filepath.Base(path) {
		t.Errorf("files: got %v, want the socket", files)
	}
}

func TestListenRefuses(t *testing.T) {
	path := socket(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"a file that is no socket", path, []string{path, "not a socket", "another path"}},
		{"a folder that is not there", filepath.Join(filepath.Dir(path), "no", "s"), []string{"no", "s"}},
		{"a path that is too long", filepath.Join(filepath.Dir(path), strings.Repeat("x", 200)), []string{"xxx"}},
		{"no path", "", []string{"no path"}},
		{"a name without a file", "@expedite", []string{"@expedite", "name a file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Listen(tt.path)
			wantError(t, err, tt.want...)
		})
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file: got %q, %v", b, err)
	}
	onlyFile(t, path)
}

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file modes")
	}
	path := socket(t)
	start(t, path, newFake())
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %o, want 600", got)
	}
}

func TestCloseRemovesItsSocketAndNoOther(t *testing.T) {
	path := socket(t)
	first := start(t, path, newFake())
	if err := os.Remove(path); err != nil { // like a cleaner of temporary folders
		t.Fatal(err)
	}
	second := start(t, path, newFake())
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first server removed the socket of the second: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: got %v, want no file", err)
	}
}

func TestCloseWithoutServe(t *testing.T) {
	path := socket(t)
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Path() != path {
		t.Errorf("path: got %q, want %q", s.Path(), path)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Serve(newFake()); err != nil {
		t.Errorf("Serve after Close: got %v, want nil", err)
	}
}

func TestHTTP(t *testing.T) {
	path := socket(t)
	start(t, path, newFake())
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"status", "GET", "/status", "", 200, `"workers":[]`},
		{"an unknown path", "GET", "/reboot", "", 404, `{"error":{"code":"not_found","message":"there is no /reboot`},
		{"a wrong method for status", "POST", "/status", "", 405, `"code":"method_not_allowed"`},
		{"a wrong method for stop", "GET", "/stop", "", 405, `"code":"method_not_allowed"`},
		{"a stop that is no JSON", "POST", "/stop", "now", 400, `"code":"bad_request"`},
		{"a stop that has no end", "POST", "/stop", strings.Repeat(" ", maxRequest+1), 400, `"code":"bad_request"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://x"+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var b strings.Builder
			if err := resp.Write(&b); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || !strings.Contains(b.String(), tt.want) {
				t.Errorf("got %s, want %d and %q", b.String(), tt.status, tt.want)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("content type: got %q", got)
			}
		})
	}
}

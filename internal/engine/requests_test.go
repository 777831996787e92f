package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

const plainRequest = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"

// startHTTP runs an engine with net/http, which answers /plain itself and everything else with h.
func startHTTP(t *testing.T, cfg Config, h http.HandlerFunc) *fixture {
	handed := make(conns, 10)
	cfg.HTTP = func(x *Requests) { handed <- x }
	f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") })
	if h != nil {
		mux.HandleFunc("/", h)
	}
	serveHTTP(t, handed, mux)
	return f
}

// wantPlain reads the response to a plainRequest.
func (p *peer) wantPlain() {
	p.t.Helper()
	p.wantStatus(http.StatusOK)
	for len(p.in) < len("plain") {
		if err := p.fill(); err != nil {
			p.t.Fatal(err)
		}
	}
	if got := string(p.in[:5]); got != "plain" {
		p.t.Errorf("got %q, want plain", got)
	}
	p.in = p.in[5:]
}

// returned waits until the loop has n connections that are kept alive and net/http has none.
func (f *fixture) returned(t *testing.T, n int) {
	t.Helper()
	until(t, "the loop has the connections again", func() bool {
		f.requestsMu.Lock()
		defer f.requestsMu.Unlock()
		s := f.Stats()
		return len(f.requests) == 0 && s.HTTPConnections == n && s.Handshaking == 0
	})
}

// TestKeptAlive: a connection without a request returns to the loop, which serves its next request and closes it if it
// is silent for too long. A request that has begun must make progress.
func TestKeptAlive(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive, cfg.HandshakeTimeout = patience, patience
		f := startHTTP(t, cfg, nil)
		p := f.connect(t, plainRequest)
		p.wantPlain()
		f.returned(t, 1)
		p.write([]byte("\r\n" + plainRequest + plainRequest))
		p.wantPlain()
		p.wantPlain()
		f.returned(t, 1)
		f.hasten(50 * time.Millisecond) // only now: the test may be slow to send the requests before
		p.write([]byte("GET"))
		p.wantStatus(http.StatusRequestTimeout)

		cfg.KeepAlive, cfg.HandshakeTimeout = 50*time.Millisecond, patience
		f = startHTTP(t, cfg, nil)
		p = f.connect(t, plainRequest)
		p.wantPlain()
		p.wantEnd()
		if got := f.Stats().Limits["head_time"]; got != 0 {
			t.Errorf("head_time: got %d, want 0: nothing was asked", got)
		}
	})
}

// TestKeptInDrain: in a drain, connections that wait for another request are closed at once, and a request that has
// begun is refused.
func TestKeptInDrain(t *testing.T) {
	f := startHTTP(t, Config{}, nil)
	idle, begun := f.connect(t, plainRequest), f.connect(t, plainRequest)
	idle.wantPlain()
	begun.wantPlain()
	f.returned(t, 2)
	begun.write([]byte(plainRequest[:10]))
	until(t, "the request has begun", func() bool { return f.Stats().BytesIn == uint64(2*len(plainRequest)+10) })
	drained := make(chan error, 1)
	go func() { drained <- f.Drain(context.Background(), ws.CloseServiceRestart, "") }()
	idle.wantEnd()
	begun.write([]byte(plainRequest[10:]))
	begun.wantStatus(http.StatusServiceUnavailable)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestHijack: a handler that takes over the connection reads what follows the request, and nothing twice.
func TestHijack(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := startHTTP(t, portable(pump), func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.Copy(conn, io.LimitReader(rw, 10)) // the test reads the result
		})
		for _, early := range []string{"", "0", "01234", "0123456789"} {
			p := f.connect(t, "GET /take HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"+early)
			p.write([]byte("0123456789"[len(early):]))
			for p.fill() == nil {
			}
			if string(p.in) != "0123456789" {
				t.Errorf("%q early: got %q, want ten digits", early, p.in)
			}
		}
		f.returned(t, 0)
	})
}

// TestBodyTime: a body that makes no progress ends its connection, whether the handler reads it or not.
func TestBodyTime(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.BodyTimeout = 50 * time.Millisecond
		read := make(chan error, 1)
		f := startHTTP(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		})
		for _, head := range []string{"Content-Length: 10\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n"} {
			p := f.connect(t, "POST /read HTTP/1.1\r\nHost: a\r\n"+head+"hell")
			if err := <-read; err == nil {
				t.Error("half a body was read without an error")
			}
			p.wantStatus(http.StatusOK)
			p.wantEnd()
			p = f.connect(t, strings.Replace(plainRequest, "\r\n\r\n", "\r\n"+head, 1))
			p.wantPlain()
			p.wantEnd()
		}
		if got := f.Stats().Limits["body_time"]; got != 4 {
			t.Errorf("body_time: got %d, want 4", got)
		}
		f.returned(t, 0)
	})
}

// TestBodyTimeWaitsForHandlers: a handler may take its time, before and after it reads the body.
func TestBodyTimeWaitsForHandlers(t *testing.T) {
	wait := func(cfg Config) { <-time.After(2 * cfg.BodyTimeout) }
	cfg := Config{BodyTimeout: 200 * time.Millisecond}
	begun, sent, read := make(chan bool), make(chan bool), make(chan error, 1)
	f := startHTTP(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-sent
		wait(cfg)
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
		for range 3 {
			fmt.Fprint(w, "part")
			_ = http.NewResponseController(w).Flush()
			wait(cfg)
		}
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
	})
	p := f.connect(t, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
	<-begun
	p.write([]byte("hello"))
	close(sent)
	if err := <-read; err != nil {
		t.Errorf("the body: %v", err)
	}
	p.wantStatus(http.StatusOK)
	const chunks = "4\r\npart\r\n4\r\npart\r\n4\r\npart\r\n0\r\n\r\n"
	for len(p.in) < len(chunks) {
		if err := p.fill(); err != nil {
			t.Fatal(err)
		}
	}
	if string(p.in) != chunks {
		t.Errorf("got %q, want %q", p.in, chunks)
	}
	p.in = nil
	p.write([]byte(plainRequest))
	p.wantPlain()
}

// TestBodyInDrain: a drain does not wait for bodies that do not arrive.
func TestBodyInDrain(t *testing.T) {
	begun, read := make(chan bool), make(chan error, 1)
	f := startHTTP(t, Config{BodyTimeout: -1}, func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	})
	before := f.connect(t, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhell")
	<-begun
	if err := f.Drain(context.Background(), ws.CloseServiceRestart, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err == nil {
		t.Error("half a body was read without an error")
	}
	before.wantStatus(http.StatusOK)
	before.wantEnd()
}

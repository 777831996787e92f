package expedite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// site is an app in one process that answers HTTP beside its endpoints / and /echo.
type site struct {
	t     *testing.T
	addr  string
	log   *lockedBuffer
	stop  context.CancelFunc
	ended chan struct{} // Run has returned
}

// lockedBuffer is a buffer for logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// openSite serves / (a page), /length (that of the body) and what more adds.
func openSite(t *testing.T, cfg Config, more ...func(*http.ServeMux)) *site {
	t.Helper()
	s := &site{t: t, log: new(lockedBuffer), ended: make(chan struct{})}
	started := make(chan Started, 1)
	cfg.Addr, cfg.Workers, cfg.OnStart = "127.0.0.1:0", -1, func(st Started) { started <- st }
	cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	app := New(cfg)
	echo := Handler{Inline: true, Message: func(c *Conn, m Message) { c.Send(m) }}
	app.Handle("/", echo)
	app.Handle("/echo", echo)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the page") })
	mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err, r.Trailer)
	})
	mux.Handle("/healthz", app.Healthz())
	for _, add := range more {
		add(mux)
	}
	app.HTTP(mux)
	ctx, cancel := context.WithCancelCause(context.Background())
	s.stop = func() { cancel(nil) }
	failed := make(chan error, 1)
	go func() {
		defer close(s.ended)
		failed <- app.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel(ErrStopNow)
		<-s.ended
		if err := <-failed; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	select {
	case st := <-started:
		s.addr = st.Addresses[0]
	case err := <-failed:
		failed <- nil
		t.Fatal(err)
	}
	return s
}

// caller is a client that sends HTTP as it likes.
type caller struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (s *site) call(bytes string) *caller {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	c := &caller{t: s.t, conn: conn, in: bufio.NewReader(conn)}
	c.send(bytes)
	return c
}

func (c *caller) send(bytes string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, bytes); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer to a request with a method.
func (c *caller) answer(method string) (r *http.Response, body string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	if r.StatusCode == http.StatusSwitchingProtocols {
		return r, ""
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("answer cut off: %v", err)
	}
	return r, string(b)
}

// want reads an answer and compares its status and the beginning of its body.
func (c *caller) want(status int, body string) *http.Response {
	c.t.Helper()
	r, got := c.answer(http.MethodGet)
	if r.StatusCode != status || !strings.HasPrefix(got, body) {
		c.t.Errorf("got %d %q, want %d %q", r.StatusCode, got, status, body)
	}
	return r
}

// wantEnd reads nothing but the end. The server may reset a connection whose bytes it does not want.
func (c *caller) wantEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.in); errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 {
		c.t.Errorf("got %q, %v, want the end", b, err)
	}
}

// wantEcho sends a message, and reads it back.
func (c *caller) wantEcho() {
	c.t.Helper()
	c.send(string(ws.AppendMaskedFrame(nil, ws.OpText, 1, []byte("hello"))))
	want := ws.AppendFrame(nil, ws.OpText, []byte("hello"))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.in, got); err != nil || !bytes.Equal(got, want) {
		c.t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

const (
	plainGet    = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
	upgradeHead = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	clientHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
)

// requests are judged the same way wherever on a connection they stand.
var requests = []struct {
	name    string
	request string
	status  int
	ends    bool // the connection ends after the answer
}{
	{"a request", plainGet, 200, false},
	{"HTTP/1.0 without Host", "GET /healthz HTTP/1.0\r\n\r\n", 200, true},
	{"HTTP/1.0 that is kept alive", "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, false},
	{"an empty line before", "\r\n" + plainGet, 200, false},
	{"several empty lines before", "\r\n\r\n\r\n" + plainGet, 200, false},
	{"the end of the connection", "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, true},
	{"absolute form", "GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, false},
	{"an IPv6 host", "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, false},
	{"an empty host", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200, false},
	{"a body", "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200, false},
	{"a body in chunks", "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n", 200, false},
	{"a body that nobody reads", "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200, false},
	{"an upgrade", upgradeHead + "\r\n", 101, false},
	{"empty list elements", upgradeHead + "Sec-WebSocket-Protocol: expedite.v1,\r\nSec-WebSocket-Protocol:\r\n\r\n", 101, false},
	{"a plain GET of an endpoint", "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 426, false},
	{"a plain GET of an endpoint that has a page", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, false},
	{"nothing there", "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404, false},

	{"an upgrade with a body", upgradeHead + "Content-Length: 5\r\n\r\nhello", 400, true},
	{"an upgrade with chunks", upgradeHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400, true},
	{"an upgrade in HTTP/1.0", strings.Replace(upgradeHead, "1.1", "1.0", 1) + "\r\n", 400, true},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, true},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, true},
	{"a Host without its bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, true},
	{"a Host with a port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, true},
	{"a Host with a negative port", "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400, true},
	{"a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400, true},
	{"a Host with a bad escape", "GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400, true},
	{"two lengths of a body", "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"0\r\n\r\n", 400, true},
	{"chunks in HTTP/1.0", "POST /length HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
	{"another coding", "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, true},
	{"a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, true},
	{"a long head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 8<<10) + "\r\n\r\n", 431, true},
	{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n", 431, true},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, true},
	// What follows is answered at once, although the head has no end.
	{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", 400, true},
	{"a bare line feed", "GET / HTTP/1.1\n", 400, true},
	{"a bare carriage return", "GET / HTTP/1.1\rHost", 400, true},
	{"a NUL", "GET /\x00", 400, true},
	{"TLS", clientHello, 400, true},
}

// TestRequests: a request gets the same answer as the first of a connection, as a later one, behind a body, and when it
// comes together with the one before.
func TestRequests(t *testing.T) {
	s := openSite(t, Config{HandshakeTimeout: 10 * patience, BodyTimeout: 10 * patience})
	const (
		posted  = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
		chunked = "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	)
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			for _, before := range []string{"", plainGet, posted, chunked} {
				for _, together := range []bool{false, true} {
					c := s.call(before)
					c.t = t
					if before != "" && together {
						_ = c.conn.Close()
						c = s.call(before + tt.request)
						c.t = t
						c.want(200, "")
					} else {
						if before != "" {
							c.want(200, "")
						}
						c.send(tt.request)
					}
					method, _, _ := strings.Cut(strings.TrimLeft(tt.request, "\r\n"), " ")
					r, body := c.answer(method)
					if r.StatusCode != tt.status {
						t.Errorf("after %.4q, together %v: got %d %q, want %d", before, together, r.StatusCode, body, tt.status)
						continue
					}
					switch {
					case tt.ends:
						c.wantEnd()
					case tt.status == http.StatusSwitchingProtocols:
						c.wantEcho()
					default:
						c.send(upgradeHead + "\r\n")
						c.want(http.StatusSwitchingProtocols, "")
						c.wantEcho()
					}
					_ = c.conn.Close()
				}
			}
		})
	}
	if n := strings.Count(s.log.String(), "a client uses TLS"); n != 1 {
		t.Errorf("the log speaks %d times of TLS, want once", n)
	}
}

// TestUpgradeRequired: a plain GET of an endpoint that the App's handler does not answer tells what is there.
func TestUpgradeRequired(t *testing.T) {
	s := openSite(t, Config{}, func(mux *http.ServeMux) {
		mux.HandleFunc("POST /echo", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "posted") })
	})
	c := s.call("GET /echo?x HTTP/1.1\r\nHost: a\r\n\r\n")
	c.want(http.StatusMethodNotAllowed, "") // an answer of the App
	c.send("POST /echo HTTP/1.1\r\nHost: a\r\n\r\n")
	c.want(http.StatusOK, "posted")

	s = openSite(t, Config{})
	c = s.call("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
	r := c.want(http.StatusUpgradeRequired, "this is a WebSocket endpoint")
	if got := r.Header.Values("Upgrade"); !slices.Equal(got, []string{"websocket"}) {
		t.Errorf("Upgrade: got %q, want websocket", got)
	}
	if got := r.Header.Values("Connection"); !slices.Equal(got, []string{"Upgrade"}) {
		t.Errorf("Connection: got %q, want Upgrade", got)
	}
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.want(http.StatusOK, "the page")
}

// TestPanicInHTTP: a panic in a handler is logged with its stack, and ends the connection.
func TestPanicInHTTP(t *testing.T) {
	s := openSite(t, Config{}, func(mux *http.ServeMux) {
		mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("oh no") })
		mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	})
	s.call("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n").wantEnd()
	s.call("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").wantEnd()
	log := s.log.String()
	if strings.Count(log, "panic in") != 1 || !strings.Contains(log, "oh no") || !strings.Contains(log, "TestPanicInHTTP") {
		t.Errorf("the log has not one panic with its stack:\n%s", log)
	}
}

// TestGoexitInHTTP: a handler that ends its goroutine is logged like one that panics.
func TestGoexitInHTTP(t *testing.T) {
	s := openSite(t, Config{}, func(mux *http.ServeMux) {
		mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	})
	s.call("GET /exit HTTP/1.1\r\nHost: a\r\n\r\n").wantEnd()
	s.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").want(http.StatusOK, "the page")
	if log := s.log.String(); strings.Count(log, "panic in") != 1 || !strings.Contains(log, "runtime.Goexit") {
		t.Errorf("the log has not one end of a handler:\n%s", log)
	}
}

// TestPanicsInHTTPAreSampled: what clients can make handlers log is bounded, as it is for callbacks.
func TestPanicsInHTTPAreSampled(t *testing.T) {
	const panics = 400
	s := openSite(t, Config{}, func(mux *http.ServeMux) {
		mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("oh no") })
	})
	for range panics {
		s.call("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").wantEnd()
	}
	log := s.log.String()
	if n := strings.Count(log, "panic in"); n < 1 || n >= panics {
		t.Errorf("%d panics left %d lines, want some and fewer", panics, n)
	}
}

// stuck is a request whose body does not come.
const stuck = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"

// TestStopWithoutBody: the end of an App does not wait for a body that does not come.
func TestStopWithoutBody(t *testing.T) {
	begun := make(chan bool)
	s := openSite(t, Config{BodyTimeout: -1, DrainTimeout: 10 * patience}, func(mux *http.ServeMux) {
		mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			_, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, err != nil)
		})
	})
	c := s.call(strings.Replace(stuck, "/length", "/wait", 1))
	<-begun
	s.stop()
	c.want(http.StatusOK, "true")
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Error("Run waits for a body that does not come")
	}
}

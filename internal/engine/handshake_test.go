package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// wantStatus reads a response and compares its status.
func (p *peer) wantStatus(want int) {
	p.t.Helper()
	head := p.head()
	if !bytes.HasPrefix(head, fmt.Appendf(nil, "HTTP/1.1 %d ", want)) {
		p.t.Errorf("got %q, want %d", head, want)
	}
}

// TestHeadLimits: a head that is too long or too slow is refused, and a socket that sends nothing is closed.
func TestHeadLimits(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.MaxHead, cfg.HandshakeTimeout = 2<<10, patience
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		f.connect(t, "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 4<<10)).wantStatus(http.StatusRequestHeaderFieldsTooLarge)
		before, half := f.Stats().BytesIn, "GET / HTTP/1.1\r\n"
		p := f.connect(t, half)
		until(t, "half a head is read", func() bool { return f.Stats().BytesIn >= before+uint64(len(half)) })
		f.hasten(50 * time.Millisecond)
		p.wantStatus(http.StatusRequestTimeout)
		f.connect(t, "").wantEnd()
		got := f.Stats()
		if got.Limits["head_size"] != 1 || got.Limits["head_time"] != 2 || got.Refused[431] != 1 || got.Refused[408] != 1 {
			t.Errorf("limits %v and refusals %v, want one of each and two of head_time", got.Limits, got.Refused)
		}
	})
}

// TestRefusedHead: a HEAD that is refused gets the head of the refusal, and nothing after it.
func TestRefusedHead(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.MaxHead = 2 << 10
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		for request, want := range map[string]int{
			"HEAD / HTTP/1.1\r\n\r\n": 400, "\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n": 426, "HEAD / HTTP/1.1\r\nHost : a\r\n\r\n": 400,
			"HEAD / HTTP/1.1\r\nX: " + strings.Repeat("x", 4<<10): 431,
		} {
			p := f.connect(t, request)
			p.wantStatus(want)
			p.wantEnd()
			p = f.connect(t, strings.Replace(request, "HEAD", "GET", 1))
			p.wantStatus(want)
			if err := p.fill(); err != nil && len(p.in) == 0 {
				t.Errorf("%.40q: a GET got no content: %v", request, err)
			}
		}
	})
}

// TestMaxConnections: one connection too many gets 503, and there is room again when another has ended.
func TestMaxConnections(t *testing.T) {
	f := start(t, Config{MaxConnections: 1}, map[string]*Route{"/": {Handler: echo}})
	p := f.dial(t, "/")
	f.connect(t, fmt.Sprintf(request, "/")).wantStatus(http.StatusServiceUnavailable)
	_ = p.conn.Close()
	until(t, "it has left", func() bool { return f.Len() == 0 })
	f.dial(t, "/")
}

// TestMessageLimits: a message that is too long or in too many pieces closes its connection and is counted.
func TestMessageLimits(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {
		Handler: echo, Reader: ws.ReaderConfig{MaxMessage: 100, MaxFragments: 3},
	}})
	long := f.dial(t, "/")
	long.send(ws.OpText, make([]byte, 101))
	long.wantClose(ws.CloseMessageTooBig)
	torn := f.dial(t, "/")
	torn.write(fragment(0x01, "a"))
	for range 3 {
		torn.write(fragment(0x00, "b"))
	}
	torn.wantClose(ws.ClosePolicyViolation)
	if got := f.Stats().Limits; got["message_size"] != 1 || got["fragments"] != 1 {
		t.Errorf("limits: got %v, want one message_size and one fragments", got)
	}
}

// TestClosedByCode: the codes of the server have a count each, other application codes one for each range.
func TestClosedByCode(t *testing.T) {
	var closes atomic.Uint32
	f := start(t, Config{}, map[string]*Route{"/": {Handler: funcs{open: func(c *Conn) {
		_ = c.Close(ws.CloseCode(closes.Load()), "")
	}}}})
	want := map[string]uint64{
		"1000": 1, "3xxx": 2, "4xxx": 3, "4401": 1, "4403": 1, "4409": 1, "4429": 1,
	}
	for _, code := range []ws.CloseCode{1000, 3000, 3999, 4000, 4402, 4999, 4401, 4403, 4409, 4429} {
		closes.Store(uint32(code))
		p := f.dial(t, "/")
		p.wantClose(code)
		_ = p.conn.Close()
		until(t, "it has left", func() bool { return f.Len() == 0 })
	}
	if got := f.Stats().Closed; !maps.Equal(got, want) {
		t.Errorf("closed: got %v, want %v", got, want)
	}
}

// TestMaxHandshakes: sockets that do not complete their handshake cannot fill the memory: one too many is closed.
func TestMaxHandshakes(t *testing.T) {
	f := start(t, Config{MaxHandshakes: 3}, map[string]*Route{"/": {Handler: echo}})
	f.dial(t, "/") // past the handshake, so it no longer counts
	slow := make([]*peer, 3)
	for i := range slow {
		slow[i] = f.connect(t, "GET / HT")
	}
	until(t, "they are in", func() bool { return f.Stats().Handshaking == 3 })
	f.connect(t, "").wantEnd()
	if got := f.Stats().Limits["handshakes"]; got != 1 {
		t.Errorf("handshakes: got %d, want 1", got)
	}
	_ = slow[0].conn.Close()
	until(t, "one has left", func() bool { return f.Stats().Handshaking == 2 })
	f.dial(t, "/")
}

// TestAuthorize: the application decides, whether Authorize blocks or not, and its panic is a refusal.
func TestAuthorize(t *testing.T) {
	release := make(chan struct{})
	decide := func(_ context.Context, u *Upgrade) error {
		switch u.Request.RawQuery {
		case "refuse":
			return &ws.HandshakeError{Status: http.StatusUnauthorized, Reason: "who are you?"}
		case "error":
			return errors.New("something that clients need not know")
		case "panic":
			panic("oh no")
		case "wait":
			<-release
		}
		u.Conn.SetOwner(u.Request.RawQuery)
		return nil
	}
	h := funcs{open: func(c *Conn) { c.Send(ws.OpText, []byte(c.Owner().(string))) }, message: echo.message}
	f := start(t, Config{}, map[string]*Route{
		"/inline": {Handler: h, Inline: true, Authorize: decide}, "/": {Handler: h, Authorize: decide, Blocking: true},
	})
	for _, path := range []string{"/", "/inline"} {
		for query, status := range map[string]int{"refuse": 401, "error": 403, "panic": 500} {
			f.connect(t, fmt.Sprintf(request, path+"?"+query)).wantStatus(status)
		}
		f.dial(t, path+"?alice").want(ws.OpText, []byte("alice"))
	}
	// What the client sends before the decision waits for it. A client that leaves leaves nothing behind.
	early := f.connect(t, fmt.Sprintf(request, "/?wait")+string(ws.AppendMaskedFrame(nil, ws.OpText, 1, []byte("early"))))
	f.connect(t, fmt.Sprintf(request, "/?wait")).conn.Close()
	close(release)
	early.wantStatus(http.StatusSwitchingProtocols)
	early.want(ws.OpText, []byte("wait"))
	early.want(ws.OpText, []byte("early"))
	if strings.Contains(f.logs.String(), "oh no") != true {
		t.Error("the panic was not logged")
	}
}

// conns is a listener for connections from elsewhere.
type conns chan net.Conn

func (c conns) Accept() (net.Conn, error) {
	conn, ok := <-c
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c conns) Close() error { return nil }
func (conns) Addr() net.Addr { return &net.TCPAddr{} }

// TestHTTPFallback: a request that is not an upgrade goes to net/http with all its bytes. The connection returns for
// the next request, whether that is an upgrade or not.
func TestHTTPFallback(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		handed := make(conns, 10)
		cfg := portable(pump)
		cfg.HTTP = func(x *Requests) { handed <- x }
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		mux := http.NewServeMux()
		mux.HandleFunc("POST /length", func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		})
		serveHTTP(t, handed, mux)

		body := strings.Repeat("b", 100_000)
		p := f.connect(t, "")
		in := bufio.NewReader(p.conn)
		for range 3 {
			p.write(fmt.Appendf(nil, "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "100000 <nil>" {
				t.Errorf("got %q, %v; want 100000", b, err)
			}
		}
		p.write([]byte(fmt.Sprintf(request, "/")))
		if in.Buffered() > 0 {
			t.Fatal("bytes that nobody asked for")
		}
		p.wantStatus(http.StatusSwitchingProtocols)
		p.send(ws.OpText, []byte("hello"))
		p.want(ws.OpText, []byte("hello"))
		if got := f.Stats(); got.HTTP != 3 || got.Accepted != 1 {
			t.Errorf("got %d requests on %d sockets, want 3 on 1", got.HTTP, got.Accepted)
		}
	})
}

// TestOpening: what was requested for a connection in Authorize happens when it opens: messages in order, and the first
// Close.
func TestOpening(t *testing.T) {
	coming, let := make(chan uint64), make(chan struct{})
	decide := func(_ context.Context, u *Upgrade) error {
		coming <- u.ID
		<-let
		return nil
	}
	ended := make(chan ws.CloseCode, 1)
	h := funcs{message: echo.message, close: func(_ *Conn, code ws.CloseCode, _ string) { ended <- code }}
	f := start(t, Config{}, map[string]*Route{"/": {Handler: h, Authorize: decide, Blocking: true}})
	opening := func(id uint64, do func(u *Upgrade)) {
		t.Helper()
		done := make(chan bool)
		f.Post(func() {
			u := f.Opening(id)
			if u != nil && do != nil {
				do(u)
			}
			done <- u != nil
		})
		if got, want := <-done, do != nil; got != want {
			t.Fatalf("opening: got %v, want %v", got, want)
		}
	}
	p := f.connect(t, fmt.Sprintf(request, "/"))
	id := <-coming
	opening(id+1, nil)
	opening(id, func(u *Upgrade) {
		u.Send(ws.OpText, []byte("one"))
		u.Send(ws.OpText, make([]byte, maxHeld)) // too large
		u.Send(ws.OpText, []byte("two"))
	})
	let <- struct{}{}
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want(ws.OpText, []byte("one"))
	p.want(ws.OpText, []byte("two"))
	opening(id, nil)
	if got := f.Stats().Limits["opening_queue"]; got != 1 {
		t.Errorf("opening_queue: got %d, want 1", got)
	}
	p = f.connect(t, fmt.Sprintf(request, "/"))
	id = <-coming
	opening(id, func(u *Upgrade) {
		if u.Close(1006, "") == nil {
			t.Error("a code that may not be sent is taken")
		}
		_ = u.Close(4409, "first")
		_ = u.Close(4403, "second")
	})
	let <- struct{}{}
	p.wantStatus(http.StatusSwitchingProtocols)
	p.wantClose(4409)
	_ = p.conn.Close()
	if got := <-ended; got != 4409 {
		t.Errorf("Close was told %d, want 4409", got)
	}
}

// serveHTTP runs net/http until the test ends, as the root package does.
func serveHTTP(t *testing.T, handed conns, h http.Handler) {
	web := &http.Server{Handler: h, ConnState: keepAlive}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(handed) }()
	t.Cleanup(func() { close(handed); <-served; _ = web.Close() })
}

// keepAlive is http.Server.ConnState.
func keepAlive(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateIdle:
		c.(*Requests).Keep()
	case http.StateHijacked:
		c.(*Requests).Hijacked()
	}
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// withConn is http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

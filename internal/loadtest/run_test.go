package loadtest

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/ws"
)

// TestIdle checks that connections are opened and held, and that closing them at the end does not count as a close by
// the server.
func TestIdle(t *testing.T) {
	r := bench(t, Config{URL: newSite(t).url("/echo")})
	want(t, "opened", r.Connections.Opened, 20)
	want(t, "peak", r.Connections.Peak, 20)
	want(t, "failed", r.Connections.Failed, 0)
	want(t, "closed", len(r.Connections.Closed), 0)
	want(t, "errors", len(r.Errors), 0)
	want(t, "sent", r.Messages.Sent, 0)
	if r.ConnectSeconds.P50 == nil || *r.ConnectSeconds.P50 <= 0 {
		t.Errorf("no time of connecting: %+v", r.ConnectSeconds)
	}
	want(t, "a time of round trips", r.RTTSeconds.P50, nil)
	if len(r.Timeline) == 0 {
		t.Error("no timeline")
	}
}

// TestEcho checks that messages of every length come back and are timed.
func TestEcho(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"by a schedule", Config{Rate: 50}},
		{"one after the other", Config{}},
		{"shortest", Config{Rate: 50, Size: MinSize}},
		{"longer than the buffer", Config{Rate: 5, Size: 700_000, Connections: 3}},
		{"after a greeting", Config{Rate: 50, URL: s.url("/greet")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			cfg.Mode = ModeEcho
			if cfg.URL == "" {
				cfg.URL = s.url("/echo")
			}
			r := bench(t, cfg)
			m := r.Messages
			if m.Sent == 0 || m.Unanswered != 0 || len(r.Errors) > 0 {
				t.Errorf("got %+v, errors %v, want all messages answered", m, r.Errors)
			}
			greetings := uint64(0)
			if strings.HasSuffix(cfg.URL, "/greet") {
				greetings = 20
			}
			want(t, "received", m.Received, m.Sent+greetings)
			want(t, "bytes", m.BytesReceived, m.BytesSent+greetings*uint64(len(`{"event":"hello"}`)))
			want(t, "corrected", r.Corrected, cfg.Rate > 0)
			want(t, "times", uint64(r.histogram.TotalCount()), m.Sent)
			want(t, "times of sending", r.SentRTTSeconds != nil, cfg.Rate > 0)
		})
	}
}

// TestCorrected checks that a stalled server makes all messages slow that were due during the stall, and not only the
// one that was waiting.
func TestCorrected(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	srv := httptest.NewServer(socket(func(ctx context.Context, c *websocket.Conn) {
		for n := 0; ; n++ {
			kind, b, err := c.Read(ctx)
			if err != nil {
				return
			}
			if n == 20 {
				<-time.After(stall)
			}
			if c.Write(ctx, kind, b) != nil {
				return
			}
		}
	}))
	defer srv.Close()
	cfg := Config{
		URL: "ws" + strings.TrimPrefix(srv.URL, "http"), Mode: ModeEcho, Connections: 1, Rate: 100, Duration: time.Second,
	}
	r := bench(t, cfg)
	want(t, "corrected", r.Corrected, true)
	if got := *r.RTTSeconds.Max; got < stall.Seconds() {
		t.Errorf("slowest: got %v s, want %v at least", got, stall)
	}
	// About 100 messages were due. The 25 in the first half of the stall waited for at least the other half.
	if got := *r.RTTSeconds.P90; got < stall.Seconds()/2 {
		t.Errorf("p90: got %v s, want %v at least", got, stall/2)
	}
	cfg.Rate = 0
	r = bench(t, cfg)
	want(t, "corrected without a schedule", r.Corrected, false)
	if got := *r.RTTSeconds.P90; got >= stall.Seconds()/2 {
		t.Errorf("p90 without a schedule: got %v s; the control shows nothing", got)
	}
}

// TestBroadcast checks that publications are counted at every client, including the publisher, and that the greeting is
// not counted.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	r := bench(t, Config{URL: newSite(t).url("/room"), Mode: ModeBroadcast, Rate: 50})
	b := r.Broadcast
	if b == nil || b.Published == 0 {
		t.Fatalf("nothing was published: %+v", b)
	}
	want(t, "sent", r.Messages.Sent, b.Published)
	want(t, "delivered", b.Delivered, 20*b.Published)
	want(t, "missing", b.Missing, 0)
	want(t, "duplicates", b.Duplicates, 0)
	want(t, "received", r.Messages.Received, b.Delivered+20)
	want(t, "times", uint64(r.histogram.TotalCount()), b.Delivered)
}

// TestMissing checks that undelivered publications are counted, in the middle and at the end.
func TestMissing(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(n int) bool{
		"the third":      func(n int) bool { return n == 3 },
		"all from third": func(n int) bool { return n >= 3 },
		"everything":     func(int) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.locked(func() { s.forget = forget })
			r := bench(t, Config{URL: s.url("/room"), Mode: ModeBroadcast, Rate: 50, Timeout: 5 * time.Second})
			lost := uint64(0)
			for n := range r.Broadcast.Published {
				if forget(int(n) + 1) {
					lost++
				}
			}
			want(t, "missing", r.Broadcast.Missing, 20*lost)
			want(t, "delivered", r.Broadcast.Delivered, 20*(r.Broadcast.Published-lost))
		})
	}
}

// TestDuplicates checks that publications delivered twice are counted as duplicates.
func TestDuplicates(t *testing.T) {
	srv := httptest.NewServer(socket(func(ctx context.Context, c *websocket.Conn) {
		for {
			kind, b, err := c.Read(ctx)
			if err != nil || c.Write(ctx, kind, b) != nil || c.Write(ctx, kind, b) != nil {
				return
			}
		}
	}))
	defer srv.Close()
	r := bench(t, Config{
		URL: "ws" + strings.TrimPrefix(srv.URL, "http"), Mode: ModeBroadcast, Rate: 50, Connections: 1,
	})
	if r.Broadcast.Delivered == 0 || r.Broadcast.Missing > 0 {
		t.Fatalf("got %+v", r.Broadcast)
	}
	want(t, "duplicates", r.Broadcast.Duplicates > 0, true)
}

// TestStorm checks that all clients disconnect and reconnect, more than once.
func TestStorm(t *testing.T) {
	t.Parallel()
	r := bench(t, Config{
		URL: newSite(t).url("/echo"), Mode: ModeStorm, Pause: 50 * time.Millisecond, Duration: 4 * time.Second,
	})
	if len(r.Storms) < 2 {
		t.Fatalf("got %d storms, want several", len(r.Storms))
	}
	for i, s := range r.Storms {
		if s.Open != 20 || s.Failed != 0 || s.Seconds <= 0 {
			t.Errorf("storm %d: got %+v, want 20 back", i, s)
		}
	}
	want(t, "opened", r.Connections.Opened, 20*uint64(len(r.Storms)+1))
	want(t, "peak", r.Connections.Peak, 20)
	want(t, "closed by the server", len(r.Connections.Closed), 0)
}

// TestFailures checks the names of causes, and that a run without any open connection ends by itself.
func TestFailures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secure := httptest.NewTLSServer(s.mux())
	defer secure.Close()
	slam := closingServer(t, nil)
	endless := closingServer(t, []byte("HTTP/1.1 101 Switching Protocols\r\nX: "+strings.Repeat("x", maxHead)))
	chatter := closingServer(t, []byte("SSH-2.0-OpenSSH\r\n\r\n"))
	for _, tt := range []struct {
		name, url, want string
		cfg             Config
	}{
		{"nobody listens", "ws://" + closedPort(t) + "/", "ECONNREFUSED", Config{}},
		{"refused with a code", s.url("/refuse"), "http 401 token_expired", Config{}},
		{"no such path", s.url("/nowhere"), "http 404", Config{}},
		{"no answer", s.url("/hang"), "timeout", Config{Timeout: 300 * time.Millisecond}},
		{"wrong accept", s.url("/liar"), "handshake: wrong Sec-WebSocket-Accept", Config{}},
		{"closed at once", "ws://" + slam + "/", "closed before an answer", Config{}},
		{"endless answer", "ws://" + endless + "/", "handshake: response too long", Config{}},
		{"no HTTP", "ws://" + chatter + "/", "ws: response is not HTTP/1.1", Config{}},
		{"no TLS there", "wss" + strings.TrimPrefix(s.url("/echo"), "ws"), "tls: the server does not speak TLS", Config{}},
		{"unknown authority", "wss" + strings.TrimPrefix(secure.URL, "https") + "/echo", "tls: unknown authority", Config{}},
		{"TLS, closed at once", "wss://" + slam + "/", "closed", Config{}},
		{"bad header", s.url("/echo"), "ws: malformed header field", Config{Header: []ws.Field{{Name: "a b", Value: "c"}}}},
		{
			"no such local address", s.url("/echo"), "EADDRNOTAVAIL",
			Config{LocalAddrs: mustAddrs(t, "192.0.2.1")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			cfg.URL, cfg.Connections = tt.url, 3
			r := bench(t, cfg)
			want(t, "opened", r.Connections.Opened, 0)
			want(t, "failed", r.Connections.Failed, 3)
			only(t, "errors", r.Errors, tt.want, 3)
		})
	}
}

// closingServer writes words to every client and closes the connection.
func closingServer(t *testing.T, words []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			_, _ = c.Read(b)
			_, _ = c.Write(words)
			_ = c.Close()
		}
	}()
	return ln.Addr().String()
}

// TestTLS checks that a server with a self-signed certificate is accepted only with Insecure.
func TestTLS(t *testing.T) {
	secure := httptest.NewTLSServer(newSite(t).mux())
	defer secure.Close()
	r := bench(t, Config{
		URL: "wss" + strings.TrimPrefix(secure.URL, "https") + "/echo", Mode: ModeEcho, Rate: 20, Insecure: true,
	})
	want(t, "opened", r.Connections.Opened, 20)
	want(t, "errors", len(r.Errors), 0)
	if r.Messages.Sent == 0 || r.Messages.Received != r.Messages.Sent {
		t.Errorf("got %+v", r.Messages)
	}
}

// TestServerCloses checks that closes by the server are counted by code, and that the run ends when no connection is
// open.
func TestServerCloses(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct{ path, code, cause string }{
		{"/close", "4001", ""},
		{"/break", "1006", "lost: closed"},
		{"/ping", "4002", ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			r := bench(t, Config{URL: s.url(tt.path), Duration: patience})
			want(t, "opened", r.Connections.Opened, 20)
			only(t, "closed", r.Connections.Closed, tt.code, 20)
			if tt.cause != "" {
				only(t, "errors", r.Errors, tt.cause, 20)
			} else {
				want(t, "errors", len(r.Errors), 0)
			}
		})
	}
}

// TestServerGone checks that the run ends early and reports everything if the server vanishes.
func TestServerGone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cfg := quick(Config{URL: s.url("/room"), Mode: ModeBroadcast, Rate: 100, Duration: patience})
	cfg.Progress = func(p Progress) {
		if p.ReceivedRate > 0 {
			s.locked(func() {
				for c := range s.room {
					go c.CloseNow() // ends at once
				}
			})
		}
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "interrupted", r.Interrupted, false)
	only(t, "closed", r.Connections.Closed, "1006", 20)
}

// TestStopped checks that a run that is stopped reports what it has measured until then.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, cfg := range map[string]Config{
		"while talking":    {URL: s.url("/echo"), Mode: ModeEcho, Rate: 10, Duration: time.Hour},
		"while connecting": {URL: s.url("/echo"), Ramp: time.Hour, Connections: 10_000},
		"without an end":   {URL: s.url("/echo")},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cfg = quick(cfg)
			if name == "without an end" {
				cfg.Duration = 0
			}
			cfg.Progress = func(p Progress) { cancel() }
			r, err := Run(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "interrupted", r.Interrupted, true)
			if r.Connections.Opened == 0 || len(r.Connections.Closed) > 0 {
				t.Errorf("got %+v", r.Connections)
			}
		})
	}
}

// TestHandshake checks the contents of the opening handshake.
func TestHandshake(t *testing.T) {
	s := newSite(t)
	bench(t, Config{
		URL: s.url("/header"), Connections: 1, Subprotocols: []string{"demo.v1"},
		Header: []ws.Field{{Name: "X-Test", Value: "1"}}, Token: func(i int) string { return "token" + string(rune('0'+i)) },
	})
	for name, value := range map[string]string{
		"X-Test": "1", "Authorization": "Bearer token0", "Sec-Websocket-Protocol": "demo.v1",
	} {
		s.locked(func() { want(t, name, s.header.Get(name), value) })
	}
}

// TestManyAddresses checks that clients use many local and many remote addresses.
func TestManyAddresses(t *testing.T) {
	s := newSite(t)
	seen := make(map[string]bool)
	srv := httptest.NewUnstartedServer(socket(echo))
	srv.Listener.Close()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener = ln
	pairs := make(chan string, 64)
	srv.Config.ConnState = nil
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		to, _, _ := net.SplitHostPort(c.LocalAddr().String())
		pairs <- from + " " + to
		return ctx
	}
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	r := bench(t, Config{
		URL: "ws://127.0.0.1:" + port + "/", LocalAddrs: mustAddrs(t, "127.0.0.2,127.0.1.0/30"),
		TargetAddrs: mustAddrs(t, "127.0.0.7,127.0.0.8"), Connections: 6,
	})
	want(t, "opened", r.Connections.Opened, 6)
	close(pairs)
	for p := range pairs {
		seen[p] = true
	}
	want(t, "pairs of addresses", len(seen), 6)
	want(t, "one of them", seen["127.0.1.2 127.0.0.8"], true)
	_ = s
}

// TestConfigErrors checks that invalid configurations are refused before any connection is opened.
func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no URL", Config{}, "want one like ws://127.0.0.1:8080/echo"},
		{"no scheme", Config{URL: "localhost:8080"}, "want one like"},
		{"another scheme", Config{URL: "ftp://127.0.0.1/"}, "neither ws nor wss"},
		{"a fragment", Config{URL: "ws://127.0.0.1/#a"}, "fragment"},
		{"a password", Config{URL: "ws://a:b@127.0.0.1/"}, "password"},
		{"a short message", Config{URL: "ws://127.0.0.1/", Size: 5}, "messages of 5 bytes"},
		{"a mode", Config{URL: "ws://127.0.0.1/", Mode: "fast"}, `mode "fast"`},
		{"too many", Config{URL: "ws://127.0.0.1/", Connections: 1 << 30}, "connections"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Run(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	_, err := Run(t.Context(), Config{URL: "ws://192.0.2.1/"})
	if !errors.Is(err, ErrRemote) {
		t.Errorf("another machine: got %v, want %v", err, ErrRemote)
	}
}

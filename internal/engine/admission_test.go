package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// TestSocketsGiveWay: with the maximum number of sockets in their handshake, a new client is still served, and the
// oldest of the others is closed.
func TestSocketsGiveWay(t *testing.T) {
	const slots = 8
	for name, tt := range map[string]struct{ sends, limit string }{
		"silent":       {"", "silent"},
		"partial head": {"GET / HTTP/1.1\r\nHost:", "handshakes"},
		"refused":      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "handshakes"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, pump bool) {
				cfg := portable(pump)
				cfg.MaxHandshakes, cfg.HandshakeTimeout = slots, patience
				f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
				var idle []*peer
				fill := func() {
					for range slots {
						p := f.connect(t, "")
						idle = append(idle, p)
						until(t, "it has a slot", func() bool { return f.Stats().Handshaking == len(idle) })
						p.write([]byte(tt.sends))
						until(t, "it was read", func() bool { return f.Stats().BytesIn >= uint64(len(idle)*len(tt.sends)) })
					}
				}
				fill()
				p := f.dial(t, "/")
				p.send(ws.OpText, []byte("hello"))
				p.want(ws.OpText, []byte("hello"))
				if tt.sends != "" && name == "refused" {
					idle[0].head()
				}
				idle[0].wantEnd()
				if got := f.Stats(); got.Limits[tt.limit] != 1 || got.Handshaking != slots-1 {
					t.Errorf("limits %v with %d left, want one of %s and %d", got.Limits, got.Handshaking, tt.limit, slots-1)
				}
				for range 10 * slots { // a flood of sockets keeps nobody out
					f.connect(t, tt.sends)
				}
				f.dial(t, "/")
			})
		})
	}
}

// TestSilentBeforeOthers: a socket that has sent nothing is closed before one that has.
func TestSilentBeforeOthers(t *testing.T) {
	f := start(t, Config{MaxHandshakes: 2, HandshakeTimeout: patience}, map[string]*Route{"/": {Handler: echo}})
	head := fmt.Sprintf(request, "/")
	begun := f.connect(t, head[:20])
	until(t, "it was read", func() bool { return f.Stats().BytesIn == 20 })
	silent := f.connect(t, "")
	until(t, "it was accepted", func() bool { return f.Stats().Accepted == 2 })
	f.dial(t, "/")
	silent.wantEnd()
	begun.write([]byte(head[20:]))
	begun.wantStatus(http.StatusSwitchingProtocols)
}

// TestAuthorizingLeavesRoom: handshakes in Authorize do not use up all slots.
func TestAuthorizingLeavesRoom(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	served := make(chan net.Conn, 1)
	f := start(t, Config{MaxHandshakes: 4, HTTP: func(c *Requests) { served <- c }}, map[string]*Route{"/": {
		Handler: echo, Blocking: true, Authorize: func(context.Context, *Upgrade) error { <-release; return nil },
	}})
	for range 3 {
		f.connect(t, fmt.Sprintf(request, "/"))
	}
	until(t, "they are authorized", func() bool { return f.deciding.Load() == 3 })
	f.connect(t, fmt.Sprintf(request, "/")).wantStatus(http.StatusServiceUnavailable)
	f.connect(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = (<-served).Close()
}

// TestSocketQueue: the queue keeps its order, and does not grow with sockets that have left the state.
func TestSocketQueue(t *testing.T) {
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	var q socketQueue
	var key [10_000]Conn
	for i := range key {
		c := &key[i]
		c.key.Index, c.key.Gen = uint32(i%10), uint32(2*(i/10)+1)
		if len(e.conns) <= int(c.key.Index) {
			e.conns = append(e.conns, nil)
		}
		e.conns[c.key.Index] = c // in the slot of an earlier one
		q.push(c.key, e.isSilent)
	}
	if cap(q.keys) > 64 {
		t.Errorf("a queue of 10 has room for %d", cap(q.keys))
	}
	for i := range 10 {
		k, ok := q.pop(e.isSilent)
		if !ok || k != key[len(key)-10+i].key {
			t.Errorf("entry %d: got %v, %v", i, k, ok)
		}
	}
	if _, ok := q.pop(e.isSilent); ok {
		t.Error("one more was left")
	}
}

func TestClientOf(t *testing.T) {
	for _, tt := range []struct{ remote, want string }{
		{"192.0.2.7:1", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"},
		{"[2001:db8:1:2:ffff::]:9", "2001:db8:1:2::"},
		{"[fe80::1%eth0]:1", "fe80::"},
	} {
		if got := clientOf(netip.MustParseAddrPort(tt.remote)); got != netip.MustParseAddr(tt.want) {
			t.Errorf("%s: got %s, want %s", tt.remote, got, tt.want)
		}
	}
	if clientOf(netip.AddrPort{}).IsValid() {
		t.Error("a socket without an address has a client")
	}
}

// TestMaxPerAddress: connections of all kinds count together, and one that ends makes room for another.
func TestMaxPerAddress(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		served := make(chan net.Conn, 4)
		cfg := portable(pump)
		cfg.MaxPerAddress, cfg.HTTP = 3, func(c *Requests) { served <- c }
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		socket := f.dial(t, "/")
		silent := f.connect(t, "")
		f.connect(t, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
		web := <-served
		until(t, "all are here", func() bool { return f.Stats().Accepted == 3 })
		full := func() {
			t.Helper()
			p := f.connect(t, "")
			p.wantStatus(http.StatusTooManyRequests)
			_ = p.conn.Close()
		}
		full()
		_ = socket.conn.Close()
		until(t, "it has left", func() bool { return f.Len() == 0 })
		f.dial(t, "/")
		full()
		_ = web.Close()
		_ = web.Close() // a second Close does not count
		f.dial(t, "/")
		full()
		_ = silent.conn.Close()
		until(t, "it has left", func() bool { return f.Stats().Handshaking == 0 })
		f.dial(t, "/")
		full()
		if got := f.Stats().Limits["per_address"]; got != 4 {
			t.Errorf("per_address: got %d, want 4", got)
		}
	})
}

// TestMaxHTTPConnections: one request too many gets 503, but a health check is served.
func TestMaxHTTPConnections(t *testing.T) {
	served := make(chan net.Conn, 8)
	f := start(t, Config{
		MaxHTTPConnections: 2, HTTP: func(c *Requests) { served <- c },
		Vital: func(path string) bool { return path == "/healthz" },
	}, map[string]*Route{"/": {Handler: echo}})
	for range 2 {
		f.connect(t, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
	}
	first, _ := <-served, <-served
	if got := f.Stats().HTTPConnections; got != 2 {
		t.Errorf("got %d HTTP connections, want 2", got)
	}
	f.connect(t, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n").wantStatus(http.StatusServiceUnavailable)
	f.connect(t, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").wantStatus(http.StatusServiceUnavailable)
	f.connect(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = (<-served).Close()
	f.dial(t, "/") // WebSockets have their own limit
	_ = first.Close()
	f.connect(t, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	<-served
	if got := f.Stats(); got.Limits["http_connections"] != 2 || got.HTTPConnections != 2 {
		t.Errorf("limits %v and %d connections, want two hits of http_connections and 2", got.Limits, got.HTTPConnections)
	}
}

// TestResponseTimeout: a client that does not read its response is disconnected.
func TestResponseTimeout(t *testing.T) {
	served := make(chan net.Conn, 1)
	f := start(t, Config{ResponseTimeout: 50 * time.Millisecond, HTTP: func(c *Requests) { served <- c }}, nil)
	f.connect(t, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	c := <-served
	defer c.Close()
	_, err := c.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || f.Stats().Limits["response_time"] != 1 {
		t.Errorf("got %v, limits %v; want the deadline, counted once", err, f.Stats().Limits)
	}
}

// slowConn takes a few bytes at a time and then returns a deadline error.
type slowConn struct {
	net.Conn
	got   bytes.Buffer
	takes int
}

func (s *slowConn) SetWriteDeadline(time.Time) error { return nil }

func (s *slowConn) Write(b []byte) (int, error) {
	n := min(len(b), s.takes)
	s.got.Write(b[:n])
	if n < len(b) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// TestSlowReaderIsNotCutOff: a client that reads slowly gets its whole response, unless a handler has set a deadline.
func TestSlowReaderIsNotCutOff(t *testing.T) {
	e := &Engine{cfg: Config{}.withDefaults()}
	b := bytes.Repeat([]byte("0123456789"), 20_000)
	slow := &slowConn{takes: 100}
	h := &httpConn{Conn: slow, eng: e}
	if n, err := h.Write(b); n != len(b) || err != nil || !bytes.Equal(slow.got.Bytes(), b) {
		t.Errorf("got %d bytes, %v; want all %d in order", n, err, len(b))
	}
	if err := h.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if n, err := h.Write(b); n != 100 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a deadline that has passed: got %d, %v; want 100 and its error", n, err)
	}
	slow.takes = 0
	if err := h.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := h.Write(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that takes nothing: got %d, %v; want 0 and the deadline", n, err)
	}
}

// TestPanicsAreSampled: log lines that clients can cause through the application are limited, but every panic is
// counted.
func TestPanicsAreSampled(t *testing.T) {
	f := start(t, Config{MayLogFault: func() bool { return false }}, map[string]*Route{
		"/": {Handler: funcs{message: func(*Conn, ws.Opcode, []byte) { panic("oh no") }}},
	})
	p := f.dial(t, "/")
	p.send(ws.OpText, []byte("x"))
	p.wantClose(ws.CloseInternalError)
	if got := f.logs.String(); got != "" || f.Stats().Panics != 1 {
		t.Errorf("got %d panics and the lines %s, want 1 and none", f.Stats().Panics, got)
	}
}

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// patience is the limit of every wait in these tests. Reaching it is a failure; no test depends on being faster.
const patience = 60 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transports are the two kinds of sockets. Every scenario runs on both.
var transports = []struct {
	name     string
	portable bool
}{{"poller", false}, {"pump", true}}

func onEachTransport(t *testing.T, f func(t *testing.T, portable bool)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) { f(t, tr.portable) })
	}
}

// funcs is a Handler made of functions, each of which may be nil.
type funcs struct {
	open    func(*Conn)
	message func(*Conn, ws.Opcode, []byte)
	drain   func(*Conn)
	close   func(*Conn, ws.CloseCode, string)
	suspend func(*Conn) ([]byte, error)
	resume  func(*Conn, []byte) error
	gap     func(*Conn, string, uint64)
}

func (f funcs) Open(c *Conn) {
	if f.open != nil {
		f.open(c)
	}
}

func (f funcs) Message(c *Conn, op ws.Opcode, p []byte) {
	if f.message != nil {
		f.message(c, op, p)
	}
}

func (f funcs) Drain(c *Conn) {
	if f.drain != nil {
		f.drain(c)
	}
}

func (f funcs) Close(c *Conn, code ws.CloseCode, reason string) {
	if f.close != nil {
		f.close(c, code, reason)
	}
}

func (f funcs) Gap(c *Conn, topic string, missed uint64) {
	if f.gap != nil {
		f.gap(c, topic, missed)
	}
}

func (f funcs) Suspend(c *Conn) ([]byte, error) {
	if f.suspend != nil {
		return f.suspend(c)
	}
	return nil, nil
}

func (f funcs) Resume(c *Conn, state []byte) error {
	if f.resume != nil {
		return f.resume(c, state)
	}
	return nil
}

var echo = funcs{message: func(c *Conn, op ws.Opcode, p []byte) { c.Send(op, p) }}

// fixture is an engine that listens on a loopback port.
type fixture struct {
	*Engine
	t    testing.TB
	addr string
	logs *syncBuffer
}

// hasten changes Config.HandshakeTimeout, also for the connections that there are.
func (f *fixture) hasten(limit time.Duration) {
	f.t.Helper()
	f.onLoop(func() {
		f.cfg.HandshakeTimeout = limit
		for _, c := range f.conns {
			if c != nil && c.phase.Load() == phaseHead {
				c.reschedule()
			}
		}
	})
}

// start runs an engine with routes until the test ends.
func start(t *testing.T, cfg Config, routes map[string]*Route) *fixture {
	t.Helper()
	for _, r := range routes {
		r.Prepare()
	}
	var next atomic.Uint64
	logs := &syncBuffer{}
	cfg.Route = func(path string) *Route { return routes[path] }
	if cfg.NewID == nil {
		cfg.NewID = func() uint64 { return next.Add(1) }
	}
	for path, r := range routes {
		r.Path = path
	}
	cfg.Logger = slog.New(slog.NewTextHandler(logs, nil))
	if cfg.Reactor.Tick == 0 {
		cfg.Reactor.Tick = 10 * time.Millisecond
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Listen(ln, ""); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run() }()
	t.Cleanup(func() {
		e.Stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the engine does not end")
		}
		_ = ln.Close()
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	return &fixture{Engine: e, t: t, addr: ln.Addr().String(), logs: logs}
}

func portable(on bool) Config { return Config{Reactor: reactor.Options{Portable: on}} }

// until polls ok until it returns true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// peer is a client that uses package ws and may break its rules.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   []byte
	rd   ws.Reader
	part []byte
	rsv  bool // compressed messages are allowed; next does not decompress them
}

var request = "GET %s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// connect opens a TCP connection and sends bytes.
func (f *fixture) connect(t *testing.T, bytes string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn}
	p.write([]byte(bytes))
	return p
}

// dial opens a WebSocket.
func (f *fixture) dial(t *testing.T, path string) *peer {
	t.Helper()
	p := f.connect(t, fmt.Sprintf(request, path))
	if head := p.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("handshake: got %q", head)
	}
	return p
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// send sends a complete message.
func (p *peer) send(op ws.Opcode, payload []byte) {
	p.t.Helper()
	p.write(ws.AppendMaskedFrame(nil, op, 0xa1b2c3d4, payload))
}

func (p *peer) fill() error {
	buf := make([]byte, 64<<10)
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := p.conn.Read(buf)
	p.in = append(p.in, buf[:n]...)
	return err
}

// head reads the head of an HTTP response.
func (p *peer) head() []byte {
	p.t.Helper()
	for {
		if end := ws.HeadEnd(p.in, 0); end >= 0 {
			head := p.in[:end]
			p.in = p.in[end:]
			return head
		}
		if err := p.fill(); err != nil {
			p.t.Fatalf("head: %q, %v", p.in, err)
		}
	}
}

// next reads the next event. Messages are complete.
func (p *peer) next() (ws.Event, error) {
	cfg := &ws.ReaderConfig{Role: ws.Client, MaxMessage: 1 << 30, Compression: p.rsv}
	for {
		for len(p.in) > 0 {
			ev, rest, err := p.rd.Next(p.in, cfg)
			p.in = rest
			switch {
			case err != nil:
				return ev, err
			case ev.Kind == ws.KindData && !ev.Last:
				p.part = append(p.part, ev.Data...)
			case ev.Kind == ws.KindData:
				ev.Data = append(p.part, ev.Data...)
				p.part = nil
				return ev, nil
			case ev.Kind != ws.KindNeedMore:
				ev.Data = bytes.Clone(ev.Data)
				return ev, nil
			}
		}
		if err := p.fill(); err != nil {
			return ws.Event{}, err
		}
	}
}

// want reads the next message and compares it.
func (p *peer) want(op ws.Opcode, payload []byte) {
	p.t.Helper()
	ev, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	if ev.Kind != ws.KindData || ev.Opcode != op || !bytes.Equal(ev.Data, payload) {
		p.t.Fatalf("got kind %d, %s of %d bytes (%.40q); want %s of %d bytes (%.40q)",
			ev.Kind, ev.Opcode, len(ev.Data), ev.Data, op, len(payload), payload)
	}
}

// wantClose reads up to the close frame and then to the end of the connection.
func (p *peer) wantClose(code ws.CloseCode) string {
	p.t.Helper()
	for {
		ev, err := p.next()
		if err != nil {
			p.t.Fatalf("got %v, want a close frame with %d", err, code)
		}
		if ev.Kind != ws.KindClose {
			continue
		}
		if ev.Code != code {
			p.t.Errorf("close code: got %d (%s), want %d", ev.Code, ev.Data, code)
		}
		return string(ev.Data)
	}
}

// wantEnd expects the end of the connection and nothing before it.
func (p *peer) wantEnd() {
	p.t.Helper()
	if err := p.fill(); !errors.Is(err, io.EOF) {
		p.t.Errorf("got %v (%q), want the end", err, p.in)
	}
}

// syncBuffer is a buffer for logs, safe for concurrent use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

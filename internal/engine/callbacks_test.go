package engine

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// callLog records the callbacks of one connection in order.
type callLog struct {
	mu     sync.Mutex
	calls  []string
	closed chan struct{}
}

func newCallLog() *callLog { return &callLog{closed: make(chan struct{})} }

func (r *callLog) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *callLog) close(_ *Conn, code ws.CloseCode, _ string) {
	r.note("close %d", code)
	close(r.closed)
}

// want waits for Close and compares the calls.
func (r *callLog) want(t *testing.T, calls ...string) {
	t.Helper()
	select {
	case <-r.closed:
	case <-time.After(patience):
		t.Error("Close was not called")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, calls) {
		t.Errorf("callbacks:\ngot  %s\nwant %s", strings.Join(r.calls, ", "), strings.Join(calls, ", "))
	}
}

// numbered returns the messages "0" to count-1 as one stream.
func numbered(count int) (stream []byte) {
	for i := range count {
		stream = ws.AppendMaskedFrame(stream, ws.OpText, 7, fmt.Append(nil, i))
	}
	return stream
}

// goodbye returns a close frame of the client.
func goodbye(t *testing.T) []byte {
	t.Helper()
	b, err := ws.AppendMaskedClose(nil, 3, ws.CloseNormal, "bye")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// soon is a fixture that is set after callbacks may already refer to it.
type soon struct{ atomic.Pointer[fixture] }

// hasRead waits until the loop has read n bytes after the handshake. It may be called in a callback.
func (s *soon) hasRead(n int) {
	want := uint64(len(fmt.Sprintf(request, "/")) + n)
	for limit := time.Now().Add(patience); s.Load() == nil || s.Load().Stats().BytesIn < want; runtime.Gosched() {
		if time.Now().After(limit) {
			panic("the bytes are not read")
		}
	}
	f := s.Load()
	f.onLoop(func() {})
}

type closeWriter interface{ CloseWrite() error }

// peerEnds lists the ways in which a client can end its side after its messages.
var peerEnds = map[string]struct {
	bytes func(t *testing.T) []byte
	fin   bool
	code  ws.CloseCode // passed to Close
}{
	"close frame":         {goodbye, false, ws.CloseNormal},
	"close frame and FIN": {goodbye, true, ws.CloseNormal},
	"FIN":                 {func(*testing.T) []byte { return nil }, true, ws.CloseAbnormal},
	"broken rule": {
		func(*testing.T) []byte { return []byte{0xf1, 0x80, 0, 0, 0, 0} }, false, ws.CloseProtocolError,
	},
}

// TestMessagesBeforeTheEnd: what a client sent before it ended its side is handled and answered before the end.
func TestMessagesBeforeTheEnd(t *testing.T) {
	const count = 50
	for name, end := range peerEnds {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, pump bool) {
				for mode, inline := range modes {
					t.Run(mode, func(t *testing.T) {
						var served soon
						r := newCallLog()
						stream := append(numbered(count), end.bytes(t)...)
						f := start(t, portable(pump), map[string]*Route{"/": {Inline: inline, Handler: funcs{
							message: func(c *Conn, op ws.Opcode, b []byte) {
								if !inline && string(b) == "0" {
									served.hasRead(len(stream))
								}
								if got := c.Send(op, b); got != Sent {
									t.Errorf("message %s: got result %d, want Sent", b, got)
								}
								r.note("%s", b)
							},
							close: r.close,
						}}})
						served.Store(f)
						p := f.dial(t, "/")
						p.write(stream)
						if end.fin {
							if err := p.conn.(closeWriter).CloseWrite(); err != nil {
								t.Fatal(err)
							}
						}
						want := make([]string, 0, count+1)
						for i := range count {
							p.want(ws.OpText, fmt.Append(nil, i))
							want = append(want, fmt.Sprint(i))
						}
						if end.code != ws.CloseAbnormal {
							p.wantClose(end.code)
						}
						p.wantEnd()
						_ = p.conn.Close()
						r.want(t, append(want, fmt.Sprintf("close %d", end.code))...)
					})
				}
			})
		})
	}
}

// TestCallbackLongerThanTheCloseTimeout: a long callback delays the answer to a close frame by at most the close
// timeout. What waits behind it is still delivered.
func TestCallbackLongerThanTheCloseTimeout(t *testing.T) {
	r, leave := newCallLog(), make(chan struct{})
	f := start(t, Config{}, map[string]*Route{"/": {CloseTimeout: 30 * time.Millisecond, Handler: funcs{
		message: func(c *Conn, op ws.Opcode, b []byte) {
			<-leave
			if got := c.Send(op, b); got != Closed {
				t.Errorf("message %s: got result %d, want Closed", b, got)
			}
			r.note("%s", b)
		},
		close: r.close,
	}}})
	p := f.dial(t, "/")
	p.write(append(numbered(3), goodbye(t)...))
	p.wantClose(ws.CloseNormal)
	p.wantEnd()
	close(leave)
	r.want(t, "0", "1", "2", "close 1000")
	if got := f.Stats().Limits["close_time"]; got != 1 {
		t.Errorf("close_time: got %d, want 1", got)
	}
}

// TestNoMessageAfterOwnClose: once the server has closed, messages that wait for their callback are dropped.
func TestNoMessageAfterOwnClose(t *testing.T) {
	stream := numbered(40)
	for name, where := range map[string]struct{ open, message func(c *Conn) }{
		"Close in Open":    {open: func(c *Conn) { _ = c.Close(4000, "") }},
		"panic in Open":    {open: func(*Conn) { panic("no") }},
		"Goexit in Open":   {open: func(*Conn) { runtime.Goexit() }},
		"Close in Message": {message: func(c *Conn) { _ = c.Close(4000, "") }},
		"panic in Message": {message: func(*Conn) { panic("no") }},
		"close from elsewhere": {message: func(c *Conn) {
			done := make(chan struct{})
			go func() { defer close(done); _ = c.Close(4000, "kicked") }()
			<-done
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var served soon
			r := newCallLog()
			f := start(t, Config{}, map[string]*Route{"/": {Handler: funcs{
				open: func(c *Conn) {
					if where.open != nil {
						served.hasRead(len(stream))
						where.open(c)
					}
				},
				message: func(c *Conn, _ ws.Opcode, b []byte) {
					r.note("%s", b)
					served.hasRead(len(stream))
					where.message(c)
				},
				close: func(_ *Conn, _ ws.CloseCode, _ string) { r.close(nil, 0, "") },
			}}})
			served.Store(f)
			p := f.connect(t, fmt.Sprintf(request, "/")+string(stream))
			p.head()
			for ended := false; !ended; {
				ev, err := p.next()
				ended = err != nil || ev.Kind == ws.KindClose
			}
			_ = p.conn.Close()
			if where.open != nil {
				r.want(t, "close 0")
			} else {
				r.want(t, "0", "close 0")
			}
		})
	}
}

// TestEachQueuedIsFollowedByDrain: a producer that stops at its first Queued gets a Drain, however little waits.
func TestEachQueuedIsFollowedByDrain(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		drained := make(chan struct{}, 1)
		_, p, c := stalledPeer(t, pump, &Route{
			Handler: funcs{drain: func(*Conn) { once(drained) }}, QueueLimit: 256 << 20, LowMark: 128 << 20,
		})
		fill(t, c, Queued)
		go swallow(p.conn)
		select {
		case <-drained:
		case <-time.After(patience):
			t.Error("Drain was not called")
		}
	})
}

// TestGoexit: a callback that ends its goroutine, as FailNow of package testing does, counts as one that panics. The
// event loop survives, and so does what others have sent in the same turn.
func TestGoexit(t *testing.T) {
	for mode, inline := range modes {
		for _, where := range []string{"open", "message", "close", "authorize", "blocking authorize"} {
			t.Run(mode+"/"+where, func(t *testing.T) {
				exit := func(at string) {
					if at == where {
						runtime.Goexit()
					}
				}
				var closes atomic.Int32
				bad := &Route{Inline: inline, Blocking: where == "blocking authorize", Handler: funcs{
					open:    func(*Conn) { exit("open") },
					message: func(*Conn, ws.Opcode, []byte) { exit("message") },
					close:   func(*Conn, ws.CloseCode, string) { closes.Add(1); exit("close") },
				}}
				if strings.Contains(where, "authorize") {
					bad.Authorize = func(context.Context, *Upgrade) error { runtime.Goexit(); return nil }
				}
				f := start(t, Config{}, map[string]*Route{"/bad": bad, "/": {Inline: inline, Handler: echo}})
				const count = 8
				good, spoiled := make([]*peer, count), make([]*peer, count)
				for i := range count {
					good[i], spoiled[i] = f.dial(t, "/"), f.connect(t, "")
				}
				hold := make(chan struct{})
				f.Post(func() { <-hold }) // so that everything arrives in one turn
				for i := range count {
					spoiled[i].write([]byte(fmt.Sprintf(request, "/bad") + string(numbered(2)) + string(goodbye(t))))
					good[i].send(ws.OpText, []byte("still there?"))
				}
				close(hold)
				for i := range count {
					good[i].want(ws.OpText, []byte("still there?"))
					if bad.Authorize != nil {
						if head := string(spoiled[i].head()); !strings.HasPrefix(head, "HTTP/1.1 500 ") {
							t.Errorf("got %q, want 500", head)
						}
						continue
					}
					spoiled[i].head()
					if where == "close" {
						spoiled[i].wantClose(ws.CloseNormal)
					} else {
						spoiled[i].wantClose(ws.CloseInternalError)
					}
					_ = spoiled[i].conn.Close()
				}
				if bad.Authorize == nil {
					until(t, "Close was called for each", func() bool { return closes.Load() == count })
				}
				if got := f.Stats().Panics; got != count {
					t.Errorf("panics: got %d, want %d", got, count)
				}
				until(t, "the others are left", func() bool { return f.Len() == count })
			})
		}
	}
}

package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// modes are the two ways to dispatch callbacks.
var modes = map[string]bool{"inline": true, "goroutine": false}

// TestEcho: messages of all lengths come back complete and in order, on each transport and with each dispatch.
func TestEcho(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		for mode, inline := range modes {
			t.Run(mode, func(t *testing.T) {
				f := start(t, portable(pump), map[string]*Route{"/": {
					Handler: echo, Inline: inline, Reader: ws.ReaderConfig{MaxMessage: 8 << 20}, QueueLimit: 32 << 20,
				}})
				p := f.dial(t, "/")
				sizes := []int{0, 1, 20, 125, 126, 1000, 16<<10 - 1, 16 << 10, 65535, 65536, 300_000, 5 << 20}
				var stream []byte
				for i, n := range sizes {
					stream = ws.AppendMaskedFrame(stream, ws.OpBinary, 77, bytes.Repeat([]byte{byte(i)}, n))
				}
				go func() { _, _ = p.conn.Write(stream) }() // a failure shows in what is read
				for i, n := range sizes {
					p.want(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, n))
				}
			})
		}
	})
}

// TestCuts: a conversation that arrives byte by byte has the same result.
func TestCuts(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := start(t, portable(pump), map[string]*Route{"/": {Handler: echo, Inline: true}})
		p := f.connect(t, "")
		talk := []byte(fmt.Sprintf(request, "/"))
		talk = ws.AppendMaskedFrame(talk, ws.OpText, 5, []byte("grüße"))
		talk = append(talk, fragment(0x01, "frag")...)
		talk = ws.AppendMaskedFrame(talk, ws.OpPing, 6, []byte("between"))
		talk = append(talk, fragment(0x80, "ments")...)
		for i := range talk {
			p.write(talk[i : i+1])
		}
		p.head()
		p.want(ws.OpText, []byte("grüße"))
		if ev, err := p.next(); err != nil || ev.Kind != ws.KindPong || string(ev.Data) != "between" {
			t.Errorf("got %+v, %v; want a pong", ev, err)
		}
		p.want(ws.OpText, []byte("fragments"))
	})
}

func fragment(first byte, payload string) []byte {
	b := ws.AppendMaskedFrame(nil, ws.OpText, 9, []byte(payload))
	b[0] = first
	return b
}

// TestOneWritePerTurn: replies to messages that arrive together leave together.
func TestOneWritePerTurn(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	p := f.dial(t, "/")
	var batch []byte
	for range 100 {
		batch = ws.AppendMaskedFrame(batch, ws.OpText, 1, []byte("hello"))
	}
	p.write(batch)
	if err := p.fill(); err != nil {
		t.Fatal(err)
	}
	if got, want := len(p.in), 100*ws.FrameLen(5); got != want {
		t.Errorf("one read brings %d bytes, want all %d", got, want)
	}
}

// TestCallbacks: Open comes first, messages in order, Close last and once; two callbacks never overlap.
func TestCallbacks(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		for mode, inline := range modes {
			t.Run(mode, func(t *testing.T) {
				var mu sync.Mutex
				var log []string
				var inside atomic.Int32
				done := make(chan struct{})
				note := func(format string, args ...any) {
					if inside.Add(1) != 1 {
						t.Error("callbacks overlap")
					}
					mu.Lock()
					log = append(log, fmt.Sprintf(format, args...))
					mu.Unlock()
					inside.Add(-1)
				}
				f := start(t, portable(pump), map[string]*Route{"/": {Inline: inline, Handler: funcs{
					open:    func(*Conn) { note("open") },
					message: func(_ *Conn, _ ws.Opcode, p []byte) { note("%s", p) },
					close:   func(_ *Conn, code ws.CloseCode, reason string) { note("close %d %s", code, reason); close(done) },
				}}})
				p := f.dial(t, "/")
				for i := range 50 {
					p.send(ws.OpText, fmt.Appendf(nil, "%d", i))
				}
				goodbye, err := ws.AppendMaskedClose(nil, 3, 4000, "bye")
				if err != nil {
					t.Fatal(err)
				}
				p.write(goodbye)
				p.wantClose(4000)
				p.wantEnd()
				<-done
				mu.Lock()
				defer mu.Unlock()
				want := []string{"open"}
				for i := range 50 {
					want = append(want, fmt.Sprint(i))
				}
				want = append(want, "close 4000 bye")
				if got := strings.Join(log, ","); got != strings.Join(want, ",") {
					t.Errorf("got  %s\nwant %s", got, strings.Join(want, ","))
				}
			})
		}
	})
}

// TestBlockingCallback: a blocking callback delays only its own connection, and its peer notices back-pressure.
func TestBlockingCallback(t *testing.T) {
	release := make(chan struct{})
	f := start(t, Config{}, map[string]*Route{
		"/slow": {MailboxLimit: 64 << 10, Handler: funcs{message: func(c *Conn, op ws.Opcode, p []byte) {
			<-release
			c.Send(op, p[:1])
		}}},
		"/": {Handler: echo},
	})
	slow, quick := f.dial(t, "/slow"), f.dial(t, "/")
	const messages = 2000
	go func() {
		m := ws.AppendMaskedFrame(nil, ws.OpBinary, 1, make([]byte, 10_000))
		for range messages {
			if _, err := slow.conn.Write(m); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	until(t, "the mailbox is full", func() bool { return f.Stats().Limits["mailbox"] > 0 })
	quick.send(ws.OpText, []byte("hello"))
	quick.want(ws.OpText, []byte("hello"))
	close(release)
	for range messages {
		slow.want(ws.OpBinary, []byte{0})
	}
}

// TestPanic: a callback that panics closes its connection with 1011 and has no other effect.
func TestPanic(t *testing.T) {
	for mode, inline := range modes {
		t.Run(mode, func(t *testing.T) {
			f := start(t, Config{}, map[string]*Route{
				"/": {Inline: inline, Handler: funcs{message: func(*Conn, ws.Opcode, []byte) { panic("oh no") }}},
			})
			p := f.dial(t, "/")
			p.send(ws.OpText, []byte("x"))
			p.wantClose(ws.CloseInternalError)
			if got := f.logs.String(); !strings.Contains(got, "oh no") || f.Stats().Panics != 1 {
				t.Errorf("the panic was not reported: %d, %s", f.Stats().Panics, got)
			}
		})
	}
}

// TestSendFromAnywhere: when many goroutines send to one connection, the messages of each stay in order.
func TestSendFromAnywhere(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		opened := make(chan *Conn, 1)
		f := start(t, portable(pump), map[string]*Route{"/": {Handler: funcs{open: func(c *Conn) { opened <- c }}}})
		p := f.dial(t, "/")
		c := <-opened
		const senders, messages = 8, 200
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for k := range messages {
					c.Send(ws.OpBinary, []byte{byte(s), byte(k)})
				}
			})
		}
		var next [senders]byte
		for range senders * messages {
			ev, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if s := ev.Data[0]; ev.Data[1] != next[s] {
				t.Fatalf("sender %d: got message %d, want %d", s, ev.Data[1], next[s])
			}
			next[ev.Data[0]]++
		}
		wg.Wait()
	})
}

// TestIdle: a silent peer is pinged, and disconnected if it does not answer.
func TestIdle(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		opened := make(chan *Conn, 1)
		f := start(t, portable(pump), map[string]*Route{"/": {
			Handler:      funcs{open: func(c *Conn) { opened <- c }},
			PingInterval: 30 * time.Millisecond, IdleTimeout: patience, CloseTimeout: 50 * time.Millisecond,
		}})
		p := f.dial(t, "/")
		c := <-opened
		silence := func(d time.Duration) { f.onLoop(func() { c.lastRead -= int64(d) }) } // the peer need not be quick
		for range 10 {                                                                   // answered pings keep it alive beyond the timeout
			ev, err := p.next()
			if err != nil || ev.Kind != ws.KindPing {
				t.Fatalf("got %+v, %v; want a ping", ev, err)
			}
			silence(patience * 6 / 10)
			before := f.Stats().BytesIn
			p.send(ws.OpPong, ev.Data)
			until(t, "the pong is read", func() bool { return f.Stats().BytesIn > before })
		}
		silence(2 * patience)
		p.wantClose(ws.CloseGoingAway)
		p.wantEnd()
		if got := f.Stats().Limits; got["idle_time"] != 1 || got["close_time"] != 1 {
			t.Errorf("limits: got %v, want one idle_time and one close_time", got)
		}
	})
}

// TestAPauseInATurnIsNoSilence: a loop that stood still in the middle of a turn pings silent peers before it gives up on
// them.
func TestAPauseInATurnIsNoSilence(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := start(t, portable(pump), map[string]*Route{"/": {
			Handler: echo, PingInterval: 300 * time.Millisecond, IdleTimeout: 1100 * time.Millisecond,
		}})
		p := f.dial(t, "/")
		f.Post(func() { <-time.After(1300 * time.Millisecond) }) // the turn takes this long
		if ev, err := p.next(); err != nil || ev.Kind != ws.KindPing {
			t.Fatalf("got %+v, %v; want a ping", ev, err)
		}
	})
}

// TestStop: Stop closes the connections and calls Close for each.
func TestStop(t *testing.T) {
	var closed atomic.Int32
	f := start(t, Config{}, map[string]*Route{"/": {Handler: funcs{
		close: func(_ *Conn, code ws.CloseCode, _ string) {
			if code == ws.CloseAbnormal {
				closed.Add(1)
			}
		},
	}}})
	peers := make([]*peer, 10)
	for i := range peers {
		peers[i] = f.dial(t, "/")
	}
	f.Stop()
	for _, p := range peers {
		p.wantEnd()
	}
	until(t, "all are told", func() bool { return closed.Load() == 10 })
	if f.Post(func() {}) {
		t.Error("Post after Stop: got true, want false")
	}
}

// TestDrain: every connection is closed with the code, and new ones are refused.
func TestDrain(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo}})
	peers := make([]*peer, 200)
	for i := range peers {
		peers[i] = f.dial(t, "/")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			if reason := p.wantClose(ws.CloseServiceRestart); reason != "restart" {
				t.Errorf("reason: got %q, want restart", reason)
			}
			_ = p.conn.Close()
		})
	}
	if err := f.Drain(ctx, ws.CloseServiceRestart, "restart"); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if head := f.connect(t, fmt.Sprintf(request, "/")).head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 503 ")) {
		t.Errorf("a new client gets %q, want 503", head)
	}
}

// TestDrainAtOnce: when there is no time for a drain, the first clients are told nevertheless why they are closed.
func TestDrainAtOnce(t *testing.T) {
	for range 10 { // there is a choice between two events
		f := start(t, Config{}, map[string]*Route{"/": {Handler: echo}})
		p := f.dial(t, "/")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = f.Drain(ctx, ws.CloseServiceRestart, "restart")
		p.wantClose(ws.CloseServiceRestart)
		_ = p.conn.Close()
	}
}

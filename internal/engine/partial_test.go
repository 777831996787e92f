package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// allBut returns a message without its last byte, which is lastOf.
func allBut(payload []byte) []byte {
	frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, payload)
	return frame[:len(frame)-1]
}

func lastOf(payload []byte) []byte {
	frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, payload)
	return frame[len(frame)-1:]
}

// holds waits until the incomplete messages of f have n bytes.
func (f *fixture) holds(t *testing.T, n int) {
	t.Helper()
	until(t, "the bytes have come", func() bool { return f.Stats().PartialBytes == int64(n) })
}

// TestPartialBudget: clients that never send the last byte of their messages are closed, those with the largest
// messages first. Those with small ones do not notice.
func TestPartialBudget(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		const budget, large, attackers = 512 << 10, 60_000, 40
		cfg := portable(pump)
		cfg.MaxPartial = budget
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo, CloseTimeout: patience}})
		small := bytes.Repeat([]byte("s"), 1000)
		good := make([]*peer, 10)
		for i := range good {
			good[i] = f.dial(t, "/")
			good[i].write(allBut(small))
		}
		f.holds(t, len(good)*(len(small)-1))
		head := f.connect(t, "GET / HTTP/1.1\r\nHost: test\r\n")
		bad := make([]*peer, attackers)
		for i := range bad {
			bad[i] = f.dial(t, "/")
			bad[i].write(allBut(make([]byte, large)))
		}
		sent := uint64(attackers * large)
		until(t, "everything was read", func() bool { return f.Stats().BytesIn > sent })
		st := f.Stats()
		closed := int(st.Limits["partial"])
		if least := attackers - budget/(large-1); closed < least || closed >= attackers {
			t.Errorf("%d connections were closed, want at least %d and not all %d", closed, least, attackers)
		}
		if st.PartialBytes > budget {
			t.Errorf("%d bytes are held, the budget is %d", st.PartialBytes, budget)
		}
		for _, p := range good {
			p.write(lastOf(small))
			p.want(ws.OpBinary, small)
		}
		head.write([]byte("\r\n"))
		if answer := head.head(); !bytes.HasPrefix(answer, []byte("HTTP/1.1 426 ")) {
			t.Errorf("a small request head: got %q", answer)
		}
		told := 0
		for _, p := range bad {
			_, _ = p.conn.Write([]byte{0}) // those that were not closed get an answer
			if ev, err := p.next(); err == nil && ev.Kind == ws.KindClose && ev.Code == ws.CloseTryAgainLater {
				told++
			}
			_ = p.conn.Close()
		}
		if told < closed {
			t.Errorf("%d of %d clients were told to try again later", told, closed)
		}
		for _, p := range good {
			_ = p.conn.Close()
		}
		_ = head.conn.Close()
		until(t, "all are gone", func() bool { return f.Len() == 0 && f.Stats().Handshaking == 0 })
		if n := f.Stats().PartialBytes; n != 0 {
			t.Errorf("%d bytes are counted when nobody is there", n)
		}
	})
}

// TestPartialLargestFirst: of two messages that are too large together, the larger one is dropped.
func TestPartialLargestFirst(t *testing.T) {
	f := start(t, Config{MaxPartial: 100_000}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	larger, smaller := f.dial(t, "/"), f.dial(t, "/")
	larger.write(allBut(make([]byte, 60_001)))
	f.holds(t, 60_000)
	body := make([]byte, 50_001)
	smaller.write(allBut(body))
	larger.wantClose(ws.CloseTryAgainLater)
	larger.wantEnd() // what it still sends is discarded
	f.holds(t, 50_000)
	smaller.write(lastOf(body))
	smaller.want(ws.OpBinary, body)
}

// TestPartialHeads: request heads, and what a client sends before its handshake is decided, count too.
func TestPartialHeads(t *testing.T) {
	decide := make(chan struct{})
	f := start(t, Config{MaxPartial: 10_000}, map[string]*Route{"/": {
		Handler: echo, Blocking: true, Authorize: func(context.Context, *Upgrade) error { <-decide; return nil },
	}})
	defer close(decide)
	eager := f.connect(t, fmt.Sprintf(request, "/")+strings.Repeat("x", 5000))
	f.holds(t, 5000)
	for range 2 {
		f.connect(t, "GET / HTTP/1.1\r\nHost: test\r\nX: "+strings.Repeat("x", 4000))
	}
	if head := eager.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 503 ")) {
		t.Errorf("got %q, want 503", head)
	}
	if n := f.Stats().Limits["partial"]; n != 1 {
		t.Errorf("partial: got %d, want 1", n)
	}
}

// TestShed: when memory is short, the largest messages are dropped until there is enough, but never small ones.
func TestShed(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	sizes := []int{100, sheddable + 1, 50_000, 70_000}
	peers, total := make([]*peer, len(sizes)), 0
	for i, n := range sizes {
		peers[i] = f.dial(t, "/")
		peers[i].write(allBut(make([]byte, n+1)))
		total += n
		f.holds(t, total)
	}
	shed := func(need int64) int64 {
		freed := make(chan int64, 1)
		f.Shed(need, func(n int64) { freed <- n })
		return <-freed
	}
	if n := shed(70_001); n != 120_000 {
		t.Errorf("70,001 bytes are needed: got %d, want the two largest", n)
	}
	peers[3].wantClose(ws.CloseTryAgainLater)
	peers[2].wantClose(ws.CloseTryAgainLater)
	if n := shed(1 << 40); n != sheddable+1 {
		t.Errorf("more is needed than there is: got %d, want %d", n, sheddable+1)
	}
	if n := f.Stats().Limits["memory_close"]; n != 3 {
		t.Errorf("memory_close: got %d, want 3", n)
	}
	if n := f.Stats().PartialBytes; n != 100 {
		t.Errorf("%d bytes are held, want 100", n)
	}
}

// TestMessageMinRate: a message that makes no progress closes its connection with 1008.
func TestMessageMinRate(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.MessageMinRate = Progress{Bytes: 1000, Per: 40 * time.Millisecond}
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		idle, slow := f.dial(t, "/"), f.dial(t, "/")
		slow.write(allBut(make([]byte, 900)))
		slow.wantClose(ws.ClosePolicyViolation)
		idle.send(ws.OpText, []byte("no message has begun"))
		idle.want(ws.OpText, []byte("no message has begun"))
		if n := f.Stats().Limits["message_min_rate"]; n != 1 {
			t.Errorf("message_min_rate: got %d, want 1", n)
		}
		if n := f.Stats().PartialBytes; n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	})
}

// hour is a period that does not end during a test.
const hour = time.Hour

// age makes the incomplete messages of f an hour older and has them judged.
func (f *fixture) age(t *testing.T) {
	t.Helper()
	f.onLoop(func() {
		for _, c := range f.partials.conns {
			c.in.since -= int64(hour)
			if c.in.stopped != 0 {
				c.in.stopped -= int64(hour)
			}
		}
		f.judge()
	})
}

// TestMessageThatProgresses: a message with enough bytes in each period continues. One with too few gets one more
// check.
func TestMessageThatProgresses(t *testing.T) {
	f := start(t, Config{MessageMinRate: Progress{Bytes: 1000, Per: hour}}, map[string]*Route{
		"/": {Handler: echo, Inline: true},
	})
	p := f.dial(t, "/")
	body := make([]byte, 3000)
	frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, body)
	head := len(frame) - len(body)
	send := func(from, to int) {
		p.write(frame[from:to])
		f.holds(t, to-head)
	}
	send(0, head+1000)
	f.age(t) // enough: the next period begins
	send(head+1000, head+1999)
	f.age(t) // a byte is missing: the last chance
	send(head+1999, head+2000)
	f.age(t) // the last chance is used up
	p.write(frame[head+2000:])
	p.want(ws.OpBinary, body)
	p.write(frame[:head+999])
	f.holds(t, 999)
	f.age(t)
	f.age(t)
	p.wantClose(ws.ClosePolicyViolation)
}

// TestPausesDoNotCount: no progress is expected while the mailbox is full or a rate limit is reached.
func TestPausesDoNotCount(t *testing.T) {
	t.Run("mailbox", func(t *testing.T) {
		release := make(chan struct{})
		f := start(t, Config{MessageMinRate: Progress{Bytes: 1000, Per: hour}}, map[string]*Route{"/": {
			MailboxLimit: 10,
			Handler: funcs{message: func(c *Conn, op ws.Opcode, b []byte) {
				<-release
				c.Send(op, b)
			}},
		}})
		p := f.dial(t, "/")
		full := bytes.Repeat([]byte("x"), 20)
		stream := append(ws.AppendMaskedFrame(nil, ws.OpBinary, 7, full), ws.AppendMaskedFrame(nil, ws.OpBinary, 7, full)...)
		frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, full)
		p.write(append(stream, frame[:10]...))
		f.holds(t, 10-(len(frame)-len(full)))
		for range 3 {
			f.age(t)
		}
		p.write(frame[10:])
		close(release)
		for range 3 {
			p.want(ws.OpBinary, full)
		}
	})
	t.Run("rate", func(t *testing.T) {
		const n = 400_000
		f := start(t, Config{
			ConnRate: Rate{In: 200_000}, MessageMinRate: Progress{Bytes: n, Per: hour},
		}, map[string]*Route{"/": {Handler: echo, Inline: true}})
		p := f.dial(t, "/")
		p.send(ws.OpBinary, make([]byte, n))
		until(t, "it is not read", func() bool { return f.Stats().Limits["rate_in"] > 0 })
		f.onLoop(func() {
			for _, c := range f.partials.conns {
				if c.loopBits&bitHeld != 0 && c.in.stopped == 0 {
					t.Error("the time in which it is not read counts")
				}
			}
		})
		p.want(ws.OpBinary, make([]byte, n))
	})
}

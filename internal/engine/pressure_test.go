package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// stalledPeer opens a connection whose peer does not read, and sends to it until a message is queued.
func stalledPeer(t *testing.T, pump bool, r *Route) (*fixture, *peer, *Conn) {
	t.Helper()
	opened := make(chan *Conn, 1)
	h := r.Handler.(funcs)
	h.open = func(c *Conn) { opened <- c }
	r.Handler = h
	f := start(t, portable(pump), map[string]*Route{"/": r})
	p := f.dial(t, "/")
	return f, p, <-opened
}

// fill sends numbered messages of 8 KiB until one has the given result.
func fill(t *testing.T, c *Conn, until Result) (sent int) {
	t.Helper()
	for i := range 100_000 {
		m := bytes.Repeat([]byte{byte(i)}, 8<<10)
		m[1], m[2] = byte(i>>8), byte(i>>16)
		if c.Send(ws.OpBinary, m) == until {
			return i
		}
	}
	t.Fatalf("no message had the result %d", until)
	return 0
}

// once sends a mark to c if there is none yet: a queue may drain more than once.
func once(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func number(m []byte) int { return int(m[0]) | int(m[1])<<8 | int(m[2])<<16 }

// TestPolicyClose: a client that is too slow is closed with 1013, after the frame that had begun.
func TestPolicyClose(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f, p, c := stalledPeer(t, pump, &Route{Handler: funcs{}, QueueLimit: 256 << 10, CloseTimeout: patience})
		fill(t, c, Closed)
		p.wantClose(ws.CloseTryAgainLater)
		if got := f.Stats().Limits["queue_close"]; got != 1 {
			t.Errorf("queue_close: got %d, want 1", got)
		}
		if c.Send(ws.OpText, nil) != Closed {
			t.Error("a message after the end was taken")
		}
		until(t, "nothing is queued", func() bool { return f.Stats().QueueBytes == 0 })
	})
}

// TestPolicyDropNewest: queued messages stay, in order; a message that finds the queue full is dropped and counted.
func TestPolicyDropNewest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		drained := make(chan struct{}, 1)
		f, p, c := stalledPeer(t, pump, &Route{
			Handler:    funcs{drain: func(*Conn) { once(drained) }},
			QueueLimit: 256 << 10, Policy: PolicyDropNewest,
		})
		kept := fill(t, c, Dropped)
		for i := range kept {
			ev, err := p.next()
			if err != nil || number(ev.Data) != i {
				t.Fatalf("got message %d, %v; want %d", number(ev.Data), err, i)
			}
		}
		<-drained
		if got := f.Stats().Limits["queue_drop_newest"]; got != 1 {
			t.Errorf("queue_drop_newest: got %d, want 1", got)
		}
		if r := c.Send(ws.OpText, []byte("again")); r != Sent {
			t.Errorf("after the drain: got result %d, want Sent", r)
		}
		p.want(ws.OpText, []byte("again"))
	})
}

// TestPolicyDropOldest: whole messages are dropped, oldest first. The newest arrive, complete and in order.
func TestPolicyDropOldest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f, p, c := stalledPeer(t, pump, &Route{Handler: funcs{}, QueueLimit: 256 << 10, Policy: PolicyDropOldest})
		final := fill(t, c, Queued)
		for f.Stats().Limits["queue_drop_oldest"] < 50 {
			final++
			m := bytes.Repeat([]byte{0xee}, 4<<10)
			m[0], m[1], m[2] = byte(final), byte(final>>8), byte(final>>16)
			if r := c.Send(ws.OpBinary, m); r != Queued && r != Sent {
				t.Fatalf("message %d: got result %d, want Queued or Sent", final, r)
			}
		}
		last, received := -1, 0
		for last != final {
			ev, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if n := number(ev.Data); n <= last {
				t.Fatalf("message %d came after %d", n, last)
			}
			last = number(ev.Data)
			received++
		}
		if got := f.Stats().Limits["queue_drop_oldest"]; got != uint64(final+1-received) {
			t.Errorf("queue_drop_oldest: got %d, want %d", got, final+1-received)
		}
	})
}

// TestCloseTimeout: a peer that does not answer the close frame is disconnected.
func TestCloseTimeout(t *testing.T) {
	f, p, c := stalledPeer(t, false, &Route{Handler: funcs{}, CloseTimeout: 30 * time.Millisecond})
	if err := c.Close(ws.CloseNormal, "bye"); err != nil {
		t.Fatal(err)
	}
	p.wantClose(ws.CloseNormal)
	p.wantEnd()
	if got := f.Stats().Limits["close_time"]; got != 1 {
		t.Errorf("close_time: got %d, want 1", got)
	}
}

// TestPublish: a message reaches each subscriber once, encoded once, whatever its size.
func TestPublish(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := start(t, portable(pump), map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) {
			for range 2 {
				if _, err := c.Subscribe("all"); err != nil {
					t.Error(err)
				}
			}
		}}}})
		peers := make([]*peer, 20)
		for i := range peers {
			peers[i] = f.dial(t, "/")
		}
		until(t, "all are subscribed", func() bool { return f.Subscriptions() == len(peers) })
		sizes := []int{0, 20, sharedFrom, 100_000}
		for _, n := range sizes {
			f.Post(func() {
				if got := f.Publish(0, "all", ws.OpBinary, bytes.Repeat([]byte{7}, n)); got != len(peers) {
					t.Errorf("Publish: got %d subscribers, want %d", got, len(peers))
				}
			})
		}
		for _, p := range peers {
			for _, n := range sizes {
				p.want(ws.OpBinary, bytes.Repeat([]byte{7}, n))
			}
			_ = p.conn.Close()
		}
		until(t, "nobody is left", func() bool { return f.Subscriptions() == 0 && f.Len() == 0 })
	})
}

// TestSubscriptionLimit: a connection cannot have more topics than the limit.
func TestSubscriptionLimit(t *testing.T) {
	result := make(chan error, 1)
	cfg := Config{MaxSubscriptions: 2}
	f := start(t, cfg, map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) {
		for _, topic := range []string{"a", "b"} {
			if _, err := c.Subscribe(topic); err != nil {
				t.Error(err)
			}
		}
		_, err := c.Subscribe("c")
		result <- err
	}}}})
	f.dial(t, "/")
	if err := <-result; err != ErrTooManySubscriptions {
		t.Errorf("got %v, want ErrTooManySubscriptions", err)
	}
}

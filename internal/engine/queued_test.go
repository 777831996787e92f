package engine

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// subscribers opens connections that subscribe to "all" and whose peers do not read yet.
func (f *fixture) subscribers(t *testing.T, path string, n int) []*peer {
	t.Helper()
	before := f.Subscriptions()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = f.dial(t, path)
	}
	until(t, "all are subscribed", func() bool { return f.Subscriptions() == before+n })
	return peers
}

// subscribing is a handler whose connections subscribe to "all".
func subscribing(t *testing.T) funcs {
	return funcs{open: func(c *Conn) {
		if _, err := c.Subscribe("all"); err != nil {
			t.Error(err)
		}
	}}
}

// counted returns a payload that begins with a number.
func counted(i, size int) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, uint32(i))
	return b
}

// TestQueuedBudget: subscribers that do not read cannot exceed the limit for all queues together, although no queue
// exceeds its own limit. The longest queues are emptied; a subscriber that reads gets everything.
func TestQueuedBudget(t *testing.T) {
	const budget, slow, batch, size = 2 << 20, 12, 64, 900
	f := start(t, Config{MaxQueued: budget}, map[string]*Route{
		"/": {Inline: true, Handler: subscribing(t), QueueLimit: 1 << 30, CloseTimeout: patience},
	})
	bad := f.subscribers(t, "/", slow)
	good := f.subscribers(t, "/", 1)[0]
	next, most := 0, int64(0)
	for f.Stats().Limits["queued"] < slow/2 && next < 40_000 {
		f.onLoop(func() {
			for range batch {
				f.Publish(0, "all", ws.OpBinary, counted(next, size))
				most = max(most, f.queuedBytes())
				next++
			}
		})
		for i := next - batch; i < next; i++ {
			if ev, err := good.next(); err != nil || len(ev.Data) != size || int(binary.LittleEndian.Uint32(ev.Data)) != i {
				t.Fatalf("the reader: got %d bytes, %v, want message %d", len(ev.Data), err, i)
			}
		}
	}
	if bound := int64(budget + budget/8 + (slow+1)*(sheddable+size+16)); most > bound {
		t.Errorf("%d bytes were queued, want at most %d", most, bound)
	}
	if n := f.Stats().Closed["1013"]; n != 0 {
		t.Errorf("%d connections have ended, but nobody has read their close frames", n)
	}
	closed := 0
	for _, p := range bad {
		if p.endsWith(next-1) == ws.CloseTryAgainLater {
			closed++
		}
	}
	if n := int(f.Stats().Limits["queued"]); closed != n {
		t.Errorf("%d clients were told to try again later, want %d", closed, n)
	}
	for _, p := range append(bad, good) {
		_ = p.conn.Close()
	}
	until(t, "nothing is queued", func() bool { return f.Len() == 0 && f.queuedBytes() == 0 })
}

// endsWith reads messages with consecutive numbers up to the last one or a close frame, whose code it returns.
func (p *peer) endsWith(last int) ws.CloseCode {
	p.t.Helper()
	for i := 0; ; i++ {
		ev, err := p.next()
		switch {
		case err != nil:
			p.t.Fatal(err)
		case ev.Kind == ws.KindClose:
			return ev.Code
		case int(binary.LittleEndian.Uint32(ev.Data)) != i:
			p.t.Fatalf("got message %d, want %d", binary.LittleEndian.Uint32(ev.Data), i)
		case i == last:
			return 0
		}
	}
}

// TestQueuedDrops: with a policy that drops, the queues are emptied and the connections stay.
func TestQueuedDrops(t *testing.T) {
	for name, policy := range map[string]Policy{"newest": PolicyDropNewest, "oldest": PolicyDropOldest} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Config{MaxQueued: 1 << 20}, map[string]*Route{
				"/": {Inline: true, Handler: subscribing(t), QueueLimit: 1 << 30, Policy: policy},
			})
			peers := f.subscribers(t, "/", 3)
			next := 0
			for f.Stats().Limits["queued"] < 2 && next < 40_000 {
				f.onLoop(func() {
					for range 64 {
						f.Publish(0, "all", ws.OpBinary, counted(next, 900))
						next++
					}
				})
			}
			for _, p := range peers {
				go swallow(p.conn)
			}
			until(t, "nothing is queued", func() bool { return f.queuedBytes() == 0 })
			if n := f.Len(); n != len(peers) {
				t.Errorf("%d connections are open, want %d", n, len(peers))
			}
		})
	}
}

// TestPublicationsCountOnce: a frame in many queues is in memory once, and counts once until all have released it.
func TestPublicationsCountOnce(t *testing.T) {
	const size, frames = 16 << 10, 40
	f := start(t, Config{MaxQueued: 2 * frames * size}, map[string]*Route{
		"/": {Inline: true, Handler: subscribing(t), QueueLimit: 1 << 30},
	})
	peers := f.subscribers(t, "/", 30)
	f.onLoop(func() {
		for _, c := range f.conns {
			if c != nil && c.id != 0 {
				c.mu.Lock()
				c.block()
				c.mu.Unlock()
			}
		}
		for i := range frames {
			f.Publish(0, "all", ws.OpBinary, counted(i, size))
		}
	})
	var one int64
	f.onLoop(func() { one = f.queuedBytes() })
	frame := int64(ws.FrameLen(size))
	if n := f.Stats().QueueBytes; n != 30*frames*frame || one != frames*frame {
		t.Errorf("%d bytes wait, %d are held; want %d and %d", n, one, 30*frames*frame, frames*frame)
	}
	f.onLoop(func() {
		for _, c := range f.conns {
			if c != nil && c.id != 0 {
				if n := int64(c.out.weight()); n < one/30-frames || n > one/30+frames {
					t.Errorf("the weight of a queue is %d, want a thirtieth of %d", n, one)
				}
			}
		}
		for _, c := range f.conns {
			if c != nil && c.id != 0 {
				c.flush(true)
			}
		}
	})
	for _, p := range peers[1:] {
		for i := range frames {
			p.want(ws.OpBinary, counted(i, size))
		}
	}
	until(t, "one queue is left, or none", func() bool { return f.queuedBytes() <= frames*frame })
	_ = peers[0].conn.Close()
	until(t, "nothing is queued", func() bool { return f.queuedBytes() == 0 && f.count.again.Load() == 0 })
	if n := f.Stats().Limits["queued"]; n != 0 {
		t.Errorf("queued: got %d, want 0", n)
	}
}

// TestShedQueues: when memory is short, long queues are emptied after incomplete messages.
func TestShedQueues(t *testing.T) {
	_, p, c := stalledPeer(t, false, &Route{Handler: funcs{}, QueueLimit: 1 << 30, CloseTimeout: patience})
	sent := fill(t, c, Queued)
	for range 20 {
		c.Send(ws.OpBinary, bytes.Repeat([]byte{1}, 8<<10))
	}
	freed := make(chan int64, 1)
	c.eng.Shed(1, func(n int64) { freed <- n })
	if n := <-freed; n < 20*8<<10 {
		t.Errorf("%d bytes are free, want those of 20 messages", n)
	}
	p.wantClose(ws.CloseTryAgainLater)
	if n := c.eng.Stats().Limits["memory_close"]; n != 1 {
		t.Errorf("memory_close: got %d, want 1 (%d messages were sent)", n, sent)
	}
}

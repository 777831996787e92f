package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// compressing returns routes for a pair: the first engine negotiates compression, the second one does not.
func compressing(policy Policy) func() map[string]*Route {
	cfg := &deflate.Config{Takeover: true}
	return func() map[string]*Route {
		routes := map[string]*Route{
			"/inline": {Handler: echo, Inline: true, Compression: cfg, Policy: policy},
			"/work":   {Handler: echo, Compression: cfg, Policy: policy},
		}
		cfg = nil
		return routes
	}
}

// TestMoveCompressedAtEveryByte: a connection moves at every byte of a compressed, fragmented message and of those
// around it, to a worker that was started without compression and back.
func TestMoveCompressedAtEveryByte(t *testing.T) {
	for _, o := range []string{
		"", "; server_no_context_takeover", "; client_no_context_takeover",
		"; server_no_context_takeover; client_no_context_takeover", "; server_max_window_bits=9; client_max_window_bits=9",
	} {
		for _, path := range []string{"/inline", "/work"} {
			t.Run(path+o, func(t *testing.T) {
				p := startPair(t, compressing(PolicyClose))
				c := p.here.squeeze(t, path, o)
				r := rand.New(rand.NewPCG(21, 22))
				first, second := chat(r, 700), chat(r, 200)
				c.sendPacked(ws.OpText, first)
				c.wantPlain(ws.OpText, first)
				packed := c.pack(second)
				stream := frame(false, ws.OpText, rsv1, packed[:3])
				stream = append(stream, frame(true, ws.OpPing, 0, nil)...)
				stream = append(stream, frame(true, ws.OpContinuation, 0, packed[3:])...)
				for i := range stream {
					before := p.here.Stats().BytesIn + p.there.Stats().BytesIn
					c.write(stream[i : i+1])
					until(t, "the byte was read", func() bool { return p.here.Stats().BytesIn+p.there.Stats().BytesIn > before })
					if n := p.move(); n != 1 {
						t.Fatalf("%d connections moved at byte %d, want 1", n, i)
					}
				}
				if ev, err := c.next(); err != nil || ev.Kind != ws.KindPong {
					t.Fatal(ev, err)
				}
				c.wantPlain(ws.OpText, second)
				for range 5 {
					text := chat(r, 900)
					p.move()
					c.sendPacked(ws.OpText, text)
					c.wantPlain(ws.OpText, text)
				}
				if c.short != 7 {
					t.Errorf("%d messages came compressed, want all 7", c.short)
				}
			})
		}
	}
}

// TestMovedWindowsAreTheSame: the windows arrive byte for byte.
func TestMovedWindowsAreTheSame(t *testing.T) {
	p := startPair(t, compressing(PolicyClose))
	c := p.here.squeeze(t, "/inline", "")
	r := rand.New(rand.NewPCG(23, 24))
	for range 60 { // more than the windows hold
		text := chat(r, 800)
		c.sendPacked(ws.OpText, text)
		c.wantPlain(ws.OpText, text)
	}
	for range 3 {
		p.move()
		on(t, p.here, func() {
			if len(p.here.windows) != 1 || len(p.there.windows) != 0 {
				t.Fatalf("%d and %d windows, want one, here", len(p.here.windows), len(p.there.windows))
			}
			for _, w := range p.here.windows {
				if !bytes.Equal(w.in.Bytes(), lastBytes(c.sent, 1<<15)) {
					t.Error("what was received differs")
				}
				if !bytes.Equal(w.out.Bytes(), lastBytes(c.received, sentWindow)) {
					t.Error("what was sent differs")
				}
			}
		})
	}
	_ = c.conn.Close()
	until(t, "it has ended", func() bool { return p.here.Len() == 0 })
	on(t, p.here, func() {
		if len(p.here.windows) != 0 {
			t.Error("its windows are left")
		}
	})
}

// without returns states without the records that have one of the tags.
func without(t *testing.T, states []byte, tags ...byte) (rest []byte) {
	for len(states) > 0 {
		end := 4 + int(binary.LittleEndian.Uint32(states))
		one := append([]byte{0, 0, 0, 0}, states[4])
		d := record.NewDecoder(states[5:end])
		for d.More() {
			if tag, value := d.Next(); !bytes.Contains(tags, []byte{tag}) {
				one = record.Append(one, tag, value)
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		binary.LittleEndian.PutUint32(one, uint32(len(one)-4))
		rest, states = append(rest, one...), states[end:]
	}
	return rest
}

// TestMoveWithoutWindow: if a window is lost on the way, the other side notices. This is what shows that the tests
// above can fail.
func TestMoveWithoutWindow(t *testing.T) {
	for _, tag := range []byte{tagReceived, tagSent} {
		t.Run(fmt.Sprintf("tag %#x", tag), func(t *testing.T) {
			p := startPair(t, compressing(PolicyClose))
			p.tamper = func(states []byte) []byte { return without(t, states, tag) }
			c := p.here.squeeze(t, "/inline", "")
			r := rand.New(rand.NewPCG(25, 26))
			text := chat(r, 900)
			c.sendPacked(ws.OpText, text)
			c.wantPlain(ws.OpText, text)
			p.move()
			c.sendPacked(ws.OpText, text)
			ev, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if tag == tagReceived {
				if ev.Kind != ws.KindClose || ev.Code != ws.CloseInvalidPayload {
					t.Errorf("got %+v, want a close frame with 1007", ev)
				}
				return
			}
			// Without its part of the window the server may only compress worse.
			if got, err := c.unpack(ev.Data); err != nil || !bytes.Equal(got, text) || len(ev.Data) < 100 {
				t.Errorf("got %d bytes, %v; want the message, compressed by itself", len(ev.Data), err)
			}
		})
	}
}

// TestMoveCompressedQueue: messages that wait for a client which does not read move with what they refer to, and can
// still be dropped. The client can read what it gets.
func TestMoveCompressedQueue(t *testing.T) {
	for name, policy := range map[string]Policy{"close": PolicyClose, "newest": PolicyDropNewest, "oldest": PolicyDropOldest} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan *Conn, 1)
			cfg := &deflate.Config{Takeover: true}
			p := startPair(t, func() map[string]*Route {
				h := funcs{open: func(c *Conn) { conns <- c }}
				defer func() { cfg = nil }()
				return map[string]*Route{"/": {Inline: true, Handler: h, Compression: cfg, Policy: policy, QueueLimit: 40 << 10}}
			})
			c := p.here.squeeze(t, "/", "")
			conn := <-conns
			r := rand.New(rand.NewPCG(27, 28))
			next := 0
			send := func(n int) {
				for range n {
					conn.Send(ws.OpBinary, numberedChat(r, next, 100+r.IntN(900)))
					next++
				}
			}
			for range 8 {
				on(t, p.here, func() {
					send(30)
					conn.mu.Lock()
					conn.block()
					conn.mu.Unlock()
					send(30)
					p.here.Depart(-1, nil)
					b, _ := p.here.Freeze(1)
					states, fds := bytes.Clone(b.States), dupAll(t, b.FDs)
					on(t, p.there, func() {
						a, err := p.there.Admit(fds, states, 0)
						if err != nil {
							t.Error(err)
							return
						}
						id := conn.id
						p.there.Start(a)
						conn = p.there.Lookup(id)
						send(10)
						conn.mu.Lock()
						conn.block()
						conn.mu.Unlock()
						if policy != PolicyClose {
							send(250)
						}
						conn.flush(true)
					})
					p.here.Release(b)
					p.here.Stay()
				})
				p.here, p.there = p.there, p.here
				on(t, p.here, func() { send(1) })
				for last := -1; last != next-1; {
					op, plain := c.message()
					n := int(binary.LittleEndian.Uint32(plain))
					if op != ws.OpBinary || n <= last || n >= next || policy == PolicyClose && last >= 0 && n != last+1 {
						t.Fatalf("got message %d after %d, %d were sent", n, last, next)
					}
					last = n
				}
			}
			drops := p.here.Stats().Limits["queue_drop_"+name] + p.there.Stats().Limits["queue_drop_"+name]
			if (drops > 0) != (policy != PolicyClose) {
				t.Errorf("%d were dropped", drops)
			}
		})
	}
}

// TestMovedPublicationsAndWindows: publications that a connection misses while it moves, or has had already, keep its
// windows right.
func TestMovedPublicationsAndWindows(t *testing.T) {
	cfg := &deflate.Config{Takeover: true}
	conns := make(chan *Conn, 1)
	p := startPair(t, func() map[string]*Route {
		h := subscribing(t)
		subscribe := h.open
		h.open = func(c *Conn) { subscribe(c); conns <- c }
		defer func() { cfg = nil }()
		return map[string]*Route{"/": {Inline: true, Handler: h, Compression: cfg}}
	})
	c := p.here.squeeze(t, "/", "")
	id := (<-conns).id
	r := rand.New(rand.NewPCG(29, 30))
	var texts [][]byte // by number, from 1
	publish := func(e *fixture, seq uint64) {
		for uint64(len(texts)) < seq {
			texts = append(texts, numberedChat(r, len(texts), r.IntN(1500)))
		}
		e.Publish(seq, "all", ws.OpBinary, texts[seq-1])
	}
	here, there := uint64(0), uint64(0)
	for range 100 {
		on(t, p.here, func() {
			for range r.IntN(4) {
				here++
				publish(p.here, here)
			}
			p.here.Lookup(id).Send(ws.OpBinary, []byte(fmt.Sprintf("%300d", here))) // it refers to publications
		})
		on(t, p.there, p.there.Record)
		on(t, p.there, func() {
			for range r.IntN(4) {
				there++
				publish(p.there, there)
			}
		})
		var b *Batch
		on(t, p.here, func() {
			p.here.Depart(-1, nil)
			for ; here < p.there.forgotten; publish(p.here, here) {
				here++
			}
			b, _ = p.here.Freeze(1)
		})
		p.carry(b, here)
		on(t, p.here, func() { p.here.Stay() })
		on(t, p.there, p.there.Unrecord)
		p.here, p.there = p.there, p.here
		here, there = there, here
	}
	on(t, p.here, func() {
		for last := max(here, there) + 1; here < last; {
			here++
			publish(p.here, here)
		}
	})
	for next := 0; next < len(texts); {
		if _, plain := c.message(); len(plain) != 300 || bytes.Contains(plain, []byte("room")) {
			if !bytes.Equal(plain, texts[next]) {
				t.Fatalf("got %.40q, want publication %d", plain, next)
			}
			next++
		}
	}
	if c.short < len(texts)/2 {
		t.Errorf("%d messages came compressed, of %d publications", c.short, len(texts))
	}
}

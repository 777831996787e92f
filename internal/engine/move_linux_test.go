package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// conversation is a stream that can be cut in every kind of place, and the answers to it.
func conversation() (stream []byte, check func(p *peer)) {
	text := []byte("γειά σου κόσμε, 你好 🚀")
	big := bytes.Repeat([]byte("0123456789abcdef"), 20)
	key := uint32(0x1b2c3d4e)
	stream = ws.AppendMaskedFrame(stream, ws.OpText, key, text)
	frag := func(op ws.Opcode, fin bool, b []byte) {
		at := len(stream)
		stream = ws.AppendMaskedFrame(stream, op, key, b)
		if !fin {
			stream[at] &^= 0x80
		}
	}
	frag(ws.OpText, false, text[:5]) // within a character
	stream = ws.AppendMaskedFrame(stream, ws.OpPing, key, []byte("are you there?"))
	frag(ws.OpContinuation, false, nil)
	frag(ws.OpContinuation, true, text[5:])
	stream = ws.AppendMaskedFrame(stream, ws.OpBinary, key, big)
	return stream, func(p *peer) {
		p.t.Helper()
		p.want(ws.OpText, text)
		ev, err := p.next()
		if err != nil || ev.Kind != ws.KindPong || string(ev.Data) != "are you there?" {
			p.t.Fatalf("got %+v, %v, want the pong", ev, err)
		}
		p.want(ws.OpText, text)
		p.want(ws.OpBinary, big)
	}
}

func TestMoveAtEveryByte(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		t.Run(path, func(t *testing.T) {
			j := new(journal)
			p := startPair(t, j.routes)
			stream, check := conversation()
			stream = append([]byte(fmt.Sprintf(request, path)), stream...)
			c := p.here.connect(t, "")
			for i := range stream {
				c.write(stream[i : i+1])
				until(t, "the byte was read", func() bool {
					return p.here.Stats().BytesIn+p.there.Stats().BytesIn == uint64(i+1)
				})
				if n := p.move(); n != 1 {
					t.Fatalf("%d connections moved at byte %d, want 1", n, i)
				}
			}
			if head := c.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("handshake: got %q", head)
			}
			check(c)
			c.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232})[:4])
			p.move()
			c.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232})[4:])
			c.wantClose(ws.CloseNormal)
			c.wantEnd()
			until(t, "Close was called", func() bool { return j.closes.Load() == 1 })
			if n := j.opens.Load(); n != 1 {
				t.Errorf("Open was called %d times", n)
			}
			if a, b := p.here.Stats(), p.there.Stats(); a.Connections+b.Connections+a.Handshaking+b.Handshaking != 0 ||
				a.QueueBytes+b.QueueBytes+a.PartialBytes+b.PartialBytes != 0 {
				t.Errorf("something is left: %+v, %+v", a, b)
			}
		})
	}
}

func TestMoveUnsentOutput(t *testing.T) {
	j := new(journal)
	p := startPair(t, j.routes)
	c := p.here.dial(t, "/inline")
	const count, size = 9, 100_000 // less than the queue limit, more than the kernel accepts
	for i := range count {
		c.send(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
	}
	until(t, "all came in", func() bool { return p.here.Stats().BinaryIn == count })
	for range 3 {
		p.move()
	}
	for i := range count {
		c.want(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
		p.move()
	}
}

func TestMoveSubscriptions(t *testing.T) {
	subscribe := func() map[string]*Route {
		return map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) {
			if _, err := c.Subscribe("news"); err != nil {
				t.Error(err)
			}
		}}}}
	}
	p := startPair(t, subscribe)
	c := p.here.dial(t, "/")
	until(t, "it is subscribed", func() bool { return p.here.Subscriptions() == 1 })
	publish := func(e *fixture, seq uint64) {
		on(t, e, func() { e.Publish(seq, "news", ws.OpText, fmt.Appendf(nil, "%d", seq)) })
	}
	// Both workers get all publications, but not at the same time.
	behind, ahead := uint64(0), uint64(0)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		here, there := &behind, &ahead
		for range rng.IntN(4) {
			*here++
			publish(p.here, *here)
		}
		on(t, p.there, p.there.Record)
		for range rng.IntN(4) {
			*there++
			publish(p.there, *there)
		}
		on(t, p.here, func() { p.here.Depart(-1, nil) })
		// As between processes: freeze only when the old worker has had what the new one does not keep.
		for ; *here < p.there.forgotten; publish(p.here, *here) {
			*here++
		}
		var b *Batch
		on(t, p.here, func() { b, _ = p.here.Freeze(1) })
		p.carry(b, *here)
		on(t, p.here, func() { p.here.Stay() })
		on(t, p.there, p.there.Unrecord)
		p.here, p.there = p.there, p.here
		behind, ahead = ahead, behind
	}
	last := max(behind, ahead) + 1
	for behind < last {
		behind++
		publish(p.here, behind)
	}
	for i := range last {
		c.want(ws.OpText, fmt.Appendf(nil, "%d", i+1))
	}
}

func TestThawGoesOnHere(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		t.Run(path, func(t *testing.T) {
			j := new(journal)
			p := startPair(t, j.routes)
			stream, check := conversation()
			c := p.here.dial(t, path)
			for i := range stream {
				var b *Batch
				on(t, p.here, func() {
					p.here.Depart(-1, nil)
					b, _ = p.here.Freeze(1)
				})
				c.write(stream[i : i+1])
				on(t, p.here, func() {
					p.here.Thaw(b)
					p.here.Stay()
				})
			}
			check(c)
			if j.opens.Load() != 1 || j.closes.Load() != 0 {
				t.Errorf("%d opened, %d closed", j.opens.Load(), j.closes.Load())
			}
		})
	}
}

func TestMoveWaitsForTheCallback(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var overlap atomic.Int32
	routes := func() map[string]*Route {
		return map[string]*Route{"/": {Handler: funcs{message: func(c *Conn, op ws.Opcode, b []byte) {
			if overlap.Add(1) != 1 {
				t.Error("callbacks overlap")
			}
			defer overlap.Add(-1)
			if string(b) == "block" {
				entered <- struct{}{}
				<-leave
			}
			c.Send(op, b)
		}}}}
	}
	p := startPair(t, routes)
	c := p.here.dial(t, "/")
	c.send(ws.OpText, []byte("block"))
	<-entered
	for i := range 50 {
		c.send(ws.OpText, fmt.Appendf(nil, "%d", i))
	}
	until(t, "all came in", func() bool { return p.here.Stats().TextIn == 51 })
	on(t, p.here, func() {
		p.here.Depart(-1, nil)
		if b, left := p.here.Freeze(1); b.Len() != 0 || left != 1 {
			t.Errorf("%d frozen, %d left, want 0 and 1", b.Len(), left)
		}
		p.here.Stay()
	})
	go func() { leave <- struct{}{} }() // ends when the callback continues
	p.move()
	c.want(ws.OpText, []byte("block"))
	for i := range 50 {
		c.want(ws.OpText, fmt.Appendf(nil, "%d", i))
	}
}

func TestSuspendAndResume(t *testing.T) {
	for _, inline := range []bool{true, false} {
		t.Run(fmt.Sprintf("inline %t", inline), func(t *testing.T) {
			var opens, closes atomic.Int64
			routes := func() map[string]*Route {
				h := funcs{
					open:  func(c *Conn) { c.SetOwner("0"); opens.Add(1) },
					close: func(*Conn, ws.CloseCode, string) { closes.Add(1) },
					message: func(c *Conn, op ws.Opcode, b []byte) {
						if string(b) == "stay" {
							c.SetOwner("stay")
						}
						c.Send(op, []byte(c.Owner().(string)))
					},
					suspend: func(c *Conn) ([]byte, error) {
						if c.Owner() == "stay" {
							return nil, errors.New("no")
						}
						return []byte(c.Owner().(string)), nil
					},
					resume: func(c *Conn, b []byte) error { c.SetOwner(string(b) + "+"); return nil },
				}
				return map[string]*Route{"/": {Handler: h, Inline: inline, Carries: true}}
			}
			p := startPair(t, routes)
			c := p.here.dial(t, "/")
			p.move()
			p.move()
			c.send(ws.OpText, []byte("?"))
			c.want(ws.OpText, []byte("0++"))
			on(t, p.here, func() { p.here.Depart(-1, func() { p.ready <- struct{}{} }) })
			var b *Batch
			on(t, p.here, func() { b, _ = p.here.Freeze(1) })
			for b.Len() == 0 {
				<-p.ready
				on(t, p.here, func() { b, _ = p.here.Freeze(1) })
			}
			on(t, p.here, func() { p.here.Thaw(b); p.here.Stay() })
			c.send(ws.OpText, []byte("?"))
			c.want(ws.OpText, []byte("0+++"))
			c.send(ws.OpText, []byte("stay"))
			c.want(ws.OpText, []byte("stay"))
			if moved := p.move(); moved != 0 {
				t.Errorf("%d moved, want 0", moved)
			}
			p.here, p.there = p.there, p.here
			c.send(ws.OpText, []byte("?"))
			c.want(ws.OpText, []byte("stay"))
			if opens.Load() != 1 || closes.Load() != 0 {
				t.Errorf("%d opened, %d closed", opens.Load(), closes.Load())
			}
		})
	}
}

func TestAMovedConnectionSaysSo(t *testing.T) {
	conns := make(chan *Conn, 1)
	routes := func() map[string]*Route {
		return map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) { conns <- c }}}}
	}
	p := startPair(t, routes)
	p.here.dial(t, "/")
	c := <-conns
	p.move()
	if r := c.Send(ws.OpText, nil); r != Moved {
		t.Errorf("Send: %d, want Moved", r)
	}
	if err := c.Close(1000, ""); !errors.Is(err, ErrMoved) {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.Subscribe("x"); !errors.Is(err, ErrMoved) {
		t.Errorf("Subscribe: %v", err)
	}
}

func TestPumpsStay(t *testing.T) {
	j := new(journal)
	e := start(t, Config{Reactor: reactor.Options{Portable: true}}, j.routes())
	c := e.dial(t, "/inline")
	on(t, e, func() {
		e.Depart(-1, nil)
		if b, left := e.Freeze(10); b.Len() != 0 || left != 0 {
			t.Errorf("%d frozen, %d left, want none", b.Len(), left)
		}
		if n := e.Stay(); n != 1 {
			t.Errorf("%d stay, want 1", n)
		}
	})
	c.send(ws.OpText, []byte("still here"))
	c.want(ws.OpText, []byte("still here"))
}

func TestAdmitTakesAllOrNothing(t *testing.T) {
	j := new(journal)
	p := startPair(t, j.routes)
	for range 2 {
		p.here.dial(t, "/inline")
	}
	until(t, "both are open", func() bool { return p.here.Len() == 2 })
	var b *Batch
	on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(2) })
	half := len(b.States) / 2
	tests := []struct {
		name   string
		states []byte
		want   error
	}{
		{"cut", b.States[:half+5], ErrState},
		{"too few", b.States[:half], ErrState},
		{"none", nil, ErrState},
		{"another version", append(append([]byte{}, b.States[:4]...), append([]byte{9}, b.States[5:]...)...), ErrState},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			on(t, p.there, func() { _, err = p.there.Admit(dupAll(t, b.FDs), tt.states, 0) })
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	on(t, p.there, func() {
		p.there.Record()
		p.there.forgotten = 7
		if _, err := p.there.Admit(dupAll(t, b.FDs), b.States, 6); err == nil || !strings.Contains(err.Error(), "missed") {
			t.Errorf("too far behind: %v", err)
		}
	})
	on(t, p.here, func() { p.here.Thaw(b); p.here.Stay() })
	if p.here.Len() != 2 || p.there.Len() != 0 {
		t.Errorf("%d here, %d there", p.here.Len(), p.there.Len())
	}
}

// TestAdmitRefusesDamagedStates: a few connections whose states are damaged are refused without the others, and continue
// where they were. If this build does not know a part of a state, it takes none.
func TestAdmitRefusesDamagedStates(t *testing.T) {
	j := new(journal)
	p := startPair(t, j.routes)
	var peers []*peer
	for range 3 {
		peers = append(peers, p.here.dial(t, "/inline"))
	}
	until(t, "all are open", func() bool { return p.here.Len() == 3 })
	var b *Batch
	on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(3) })
	states := func(change func(second []byte)) []byte {
		all := bytes.Clone(b.States)
		change(all[4+binary.LittleEndian.Uint32(all):][4:])
		return all
	}
	admit := func(states []byte, spare int) (a *Arrivals, err error) {
		on(t, p.there, func() { a, err = p.there.AdmitMost(dupAll(t, b.FDs), states, 0, spare) })
		return a, err
	}
	damaged := states(func(s []byte) { s[3] = 99 }) // the phase
	for name, states := range map[string][]byte{
		"an unknown version": states(func(s []byte) { s[0] = 99 }),
		"an unknown record":  states(func(s []byte) { s[1] = 0x7f }),
	} {
		if _, err := admit(states, 2); !errors.Is(err, ErrState) {
			t.Errorf("%s: got %v, want %v", name, err, ErrState)
		}
	}
	if _, err := admit(damaged, 0); !errors.Is(err, ErrState) {
		t.Errorf("none may be refused: got %v, want %v", err, ErrState)
	}
	a, err := admit(damaged, 1)
	if err != nil {
		t.Fatal(err)
	}
	if places, why := a.Refused(); !slices.Equal(places, []int{1}) || !errors.Is(why, ErrState) || a.Len() != 2 {
		t.Errorf("got %v refused, %v, and %d taken, want the second one", places, why, a.Len())
	}
	on(t, p.here, func() {
		p.here.Keep(b.Split([]int{1}), "damaged")
		p.here.Release(b)
	})
	on(t, p.there, func() { p.there.Start(a) })
	on(t, p.here, func() {
		if again, left := p.here.Freeze(3); again.Len() != 0 || left != 0 {
			t.Errorf("%d were frozen again, %d are left, want none", again.Len(), left)
		}
		if n := p.here.Stay(); n != 1 || p.here.Stats().Stays["refused"] != 1 {
			t.Errorf("%d stay, want 1: %v", n, p.here.Stats().Stays)
		}
	})
	for _, c := range peers {
		c.send(ws.OpText, []byte("still here"))
		c.want(ws.OpText, []byte("still here"))
	}
	if p.here.Len() != 1 || p.there.Len() != 2 {
		t.Errorf("%d here, %d there, want 1 and 2", p.here.Len(), p.there.Len())
	}
}

// TestForsake: a connection whose callback does not return does not delay the others forever.
func TestForsake(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	routes := func() map[string]*Route {
		return map[string]*Route{"/": {Handler: funcs{message: func(c *Conn, op ws.Opcode, b []byte) {
			entered <- struct{}{}
			<-leave
			c.Send(op, b)
		}}}}
	}
	p := startPair(t, routes)
	c := p.here.dial(t, "/")
	c.send(ws.OpText, []byte("block"))
	<-entered
	on(t, p.here, func() {
		p.here.Depart(-1, nil)
		if _, left := p.here.Freeze(1); left != 1 {
			t.Errorf("%d left, want 1", left)
		}
		p.here.Forsake()
		if _, left := p.here.Freeze(1); left != 0 {
			t.Errorf("%d left after Forsake, want none", left)
		}
		if n := p.here.Stay(); n != 1 {
			t.Errorf("%d stay, want 1", n)
		}
	})
	leave <- struct{}{}
	c.want(ws.OpText, []byte("block"))
}

// TestClosedWhilePaused: a connection that ends after its callbacks have paused still gets its Close.
func TestClosedWhilePaused(t *testing.T) {
	j := new(journal)
	entered, leave := make(chan struct{}), make(chan struct{})
	routes := func() map[string]*Route {
		h := j.handler()
		h.message = func(*Conn, ws.Opcode, []byte) { entered <- struct{}{}; <-leave }
		return map[string]*Route{"/": {Handler: h}}
	}
	p := startPair(t, routes)
	c := p.here.dial(t, "/")
	c.send(ws.OpText, []byte("block"))
	<-entered
	on(t, p.here, func() {
		p.here.Depart(-1, func() { p.ready <- struct{}{} })
		p.here.Freeze(1)
	})
	leave <- struct{}{}
	<-p.ready
	_ = c.conn.Close()
	until(t, "the end was seen", func() bool { return p.here.Len() == 0 })
	on(t, p.here, func() { p.here.Freeze(1); p.here.Stay() })
	until(t, "Close was called", func() bool { return j.closes.Load() == 1 })
}

// TestMoveKeepsTheProgress: a move does not give a slow message a new period, and the time of the move does not count.
func TestMoveKeepsTheProgress(t *testing.T) {
	j := new(journal)
	p := startPair(t, j.routes)
	for _, f := range []*fixture{p.here, p.there} {
		f.onLoop(func() { f.cfg.MessageMinRate = Progress{Bytes: 1000, Per: hour} })
	}
	slow, fast := p.here.dial(t, "/work"), p.here.dial(t, "/inline")
	slow.write(allBut(make([]byte, 901)))
	p.here.holds(t, 900)
	fast.write(allBut(make([]byte, 1001)))
	p.here.holds(t, 1900)
	p.here.onLoop(func() {
		for _, c := range p.here.partials.conns {
			c.in.since -= int64(hour)
		}
	})
	if n := p.move(); n != 2 {
		t.Fatalf("%d connections moved, want 2", n)
	}
	p.here.onLoop(func() {
		p.here.judge()
		p.here.judge()
	})
	slow.wantClose(ws.ClosePolicyViolation)
	fast.write(lastOf(make([]byte, 1001)))
	fast.want(ws.OpBinary, make([]byte, 1001))
}

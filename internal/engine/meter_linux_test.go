package engine

import (
	"strconv"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/ws"
)

// TestMoveWithAMessageRate checks that the bucket moves with its connection, full or empty, and so does a message that is
// being dropped.
func TestMoveWithAMessageRate(t *testing.T) {
	for _, inline := range []bool{true, false} {
		t.Run(strconv.FormatBool(inline), func(t *testing.T) {
			p := startPair(t, func() map[string]*Route {
				return map[string]*Route{"/": {Handler: echo, Inline: inline, MessageRate: rarely(3), OverRate: RateDrop}}
			})
			c := p.here.dial(t, "/")
			for i := range 3 {
				c.send(ws.OpText, []byte{byte(i)})
				c.want(ws.OpText, []byte{byte(i)})
				p.move()
			}
			dropped := func() uint64 {
				return p.here.Stats().Limits["message_rate"] + p.there.Stats().Limits["message_rate"]
			}
			for i := range 4 {
				c.write(unfinished(ws.OpText, "dropped"))
				until(t, "it is dropped", func() bool { return dropped() == uint64(i+1) })
				p.move()
				p.here.forgive() // the end of the message is dropped nevertheless
				c.send(ws.OpContinuation, []byte("end"))
				c.send(ws.OpText, []byte("taken"))
				c.want(ws.OpText, []byte("taken"))
				p.here.onLoop(func() { p.here.meters[p.here.Lookup(1)].next = farthestCadence }) // empty again
			}
			if n := len(p.there.meters); n != 0 {
				t.Errorf("%d meters are left behind", n)
			}
		})
	}
}

// TestMoveWhileItWaits checks that a connection that is read later is read later in the next worker too.
func TestMoveWhileItWaits(t *testing.T) {
	for _, inline := range []bool{true, false} {
		p := startPair(t, func() map[string]*Route {
			return map[string]*Route{"/": {Handler: echo, Inline: inline, MessageRate: rarely(1), OverRate: RateWait}}
		})
		c := p.here.dial(t, "/")
		c.send(ws.OpText, []byte("1"))
		c.want(ws.OpText, []byte("1"))
		c.send(ws.OpText, []byte("2"))
		for range 3 {
			until(t, "it waits", p.here.rated)
			if n := p.move(); n != 1 {
				t.Fatalf("%d moved, want 1", n)
			}
		}
		until(t, "it waits", p.here.rated)
		p.here.forgive()
		c.want(ws.OpText, []byte("2"))
	}
}

// TestMoveWithALifetime checks that a lifetime goes on after moves, and that a release with a shorter one applies it.
func TestMoveWithALifetime(t *testing.T) {
	life := []time.Duration{time.Hour, time.Hour}
	p := startPair(t, func() map[string]*Route {
		l := life[0]
		life = life[1:]
		return map[string]*Route{"/": {Handler: echo, MaxLifetime: l}}
	})
	c := p.here.dial(t, "/")
	ends := func() (at int64) {
		p.here.onLoop(func() { at = p.here.meters[p.here.Lookup(1)].ends })
		return at
	}
	want := ends()
	for range 3 {
		p.move()
		if got := ends(); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
	on(t, p.there, func() { p.there.cfg.Route("/").MaxLifetime = time.Minute })
	p.move()
	if got := ends(); got > want-int64(58*time.Minute-6*time.Minute) {
		t.Errorf("%s are taken from it, want about 59 minutes", time.Duration(want-got))
	}
	p.here.onLoop(func() {
		c := p.here.Lookup(1)
		p.here.meters[c].ends = 1
	})
	p.move()
	c.wantClose(ws.CloseServiceRestart)
}

// TestMoveToARateThatIsNew checks connections of a release without these limits.
func TestMoveToARateThatIsNew(t *testing.T) {
	routes := []*Route{{Handler: echo}, {Handler: echo, MessageRate: rarely(1), MaxLifetime: time.Hour}}
	p := startPair(t, func() map[string]*Route {
		r := routes[0]
		routes = routes[1:]
		return map[string]*Route{"/": r}
	})
	c := p.here.dial(t, "/")
	p.move()
	p.here.onLoop(func() {
		if m := p.here.meters[p.here.Lookup(1)]; m == nil || m.ends == 0 || m.next != 0 {
			t.Errorf("got %+v, want a lifetime that has begun and a full bucket", m)
		}
	})
	p.move()
	p.here.onLoop(func() {
		if len(p.here.meters) != 0 {
			t.Error("got a meter, want none where nothing is limited")
		}
	})
	for range 5 {
		c.send(ws.OpText, []byte("x"))
		c.want(ws.OpText, []byte("x"))
	}
	p.move()
	c.send(ws.OpText, []byte("x"))
	c.want(ws.OpText, []byte("x"))
	c.send(ws.OpText, []byte("x"))
	c.wantClose(ws.ClosePolicyViolation)
}

// TestMeterState checks the bytes of a meter, which never change their meaning.
func TestMeterState(t *testing.T) {
	if b := (*meter)(nil).append(nil); b != nil {
		t.Errorf("no meter: got % x", b)
	}
	if b := (&meter{}).append(nil); b != nil {
		t.Errorf("zero meter: got % x, want nothing", b)
	}
	want := meter{ends: 0x0102030405060708, next: 0x1112131415161718, skipping: true}
	b := want.append(nil)
	golden := "\x90\x08\x08\x07\x06\x05\x04\x03\x02\x01\x91\x08\x18\x17\x16\x15\x14\x13\x12\x11\x92\x00"
	if string(b) != golden {
		t.Errorf("got % x, want % x", b, golden)
	}
	var s state
	for d := record.NewDecoder(b); d.More(); {
		tag, v := d.Next()
		if d.Err() != nil || !s.load(tag, v) {
			t.Fatalf("record %#x of % x is not known", tag, v)
		}
	}
	if s.meter != want {
		t.Errorf("got %+v, want %+v", s.meter, want)
	}
}

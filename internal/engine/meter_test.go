package engine

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// rarely is a rate that gives a burst and then nothing for the length of any test.
func rarely(burst int) EventRate { return EventRate{PerSecond: 1e-6, Burst: burst} }

// TestEventRate checks when events are allowed, by a clock that the test sets.
func TestEventRate(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, tt := range []struct {
		name   string
		rate   EventRate
		events []int64 // times in ms
		want   string  // + is allowed
	}{
		{"no limit", EventRate{}, []int64{0, 0, 0, 0}, "++++"},
		{"one at a time", EventRate{10, 1}, []int64{0, 0, 99, 100, 150, 200, 1000, 1000}, "+--+-++-"},
		{"a burst", EventRate{10, 3}, []int64{0, 0, 0, 0, 100, 100, 400, 400, 400, 400}, "+++-+-+++-"},
		{"a burst of a second by default", EventRate{3, 0}, []int64{5, 5, 5, 5}, "+++-"},
		{"less than one a second", EventRate{0.5, 0}, []int64{0, 0, 1999, 2000}, "+--+"},
		{"what is refused costs nothing", EventRate{10, 1}, []int64{0, 50, 60, 70, 80, 90, 100}, "+-----+"},
		{"more than the clock can tell apart", EventRate{1e12, 1}, []int64{0, 1, 2}, "+++"},
		{"almost never", EventRate{1e-30, 1}, []int64{0, 1 << 38}, "+-"},
		{"an endless burst", EventRate{1e-3, math.MaxInt}, []int64{0, 0, 0}, "+++"},
	} {
		k, next, got := tt.rate.cadence(0), int64(0), ""
		for _, at := range tt.events {
			if k.take(&next, 1e6*ms+at*ms) {
				got += "+"
			} else {
				got += "-"
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestCadenceDoesNotOverflow checks that events beyond the limit, which count with RateWait, keep the numbers in range.
func TestCadenceDoesNotOverflow(t *testing.T) {
	k, next := EventRate{PerSecond: 1e-30, Burst: math.MaxInt}.cadence(0), int64(0)
	for range 100 {
		now := int64(1e18)
		if next = k.after(next, now); next < now || k.due(next) > next {
			t.Fatalf("got %d at %d", next, now)
		}
	}
}

// forEachDispatch runs a test with both kinds of callbacks, on both transports.
func forEachDispatch(t *testing.T, test func(t *testing.T, cfg Config, inline bool)) {
	for _, inline := range []bool{true, false} {
		t.Run("inline="+strconv.FormatBool(inline), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, transport bool) { test(t, portable(transport), inline) })
		})
	}
}

// unfinished returns a frame that is not the last of its message.
func unfinished(op ws.Opcode, text string) []byte {
	b := ws.AppendMaskedFrame(nil, op, 7, []byte(text))
	b[0] &^= 0x80
	return b
}

// TestMessageRateCloses checks that the message beyond the rate closes the connection at its first frame, and that those
// before it are answered.
func TestMessageRateCloses(t *testing.T) {
	forEachDispatch(t, func(t *testing.T, cfg Config, inline bool) {
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo, Inline: inline, MessageRate: rarely(3)}})
		p := f.dial(t, "/")
		p.send(ws.OpText, []byte("1"))
		p.write(append(unfinished(ws.OpText, "2"), ws.AppendMaskedFrame(nil, ws.OpContinuation, 1, []byte("3"))...))
		p.send(ws.OpText, []byte("4"))
		p.write(unfinished(ws.OpText, "5")) // its end never comes
		p.want(ws.OpText, []byte("1"))
		p.want(ws.OpText, []byte("23"))
		p.want(ws.OpText, []byte("4"))
		if why := p.wantClose(ws.ClosePolicyViolation); why != "too many messages" {
			t.Errorf("got %q", why)
		}
		_ = p.conn.Close()
		until(t, "it has ended", func() bool { return f.Len() == 0 })
		if s := f.Stats(); s.Limits["message_rate"] != 1 || s.TextIn != 3 || s.PartialBytes != 0 {
			t.Errorf("got %v, %d messages, %d bytes left", s.Limits, s.TextIn, s.PartialBytes)
		}
		f.onLoop(func() {
			if len(f.meters) != 0 {
				t.Errorf("%d meters are left", len(f.meters))
			}
		})
	})
}

// TestPingsCount checks that pings and pongs count like messages, so that a flood of them is limited.
func TestPingsCount(t *testing.T) {
	for name, op := range map[string]ws.Opcode{"ping": ws.OpPing, "pong": ws.OpPong} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Config{}, map[string]*Route{"/": {Handler: echo, MessageRate: rarely(3)}})
			p := f.dial(t, "/")
			for range 4 {
				p.send(op, []byte("x"))
			}
			p.wantClose(ws.ClosePolicyViolation)
			if n := f.Stats().Limits["message_rate"]; n != 1 {
				t.Errorf("counted %d times, want once", n)
			}
		})
	}
}

// TestMessageRateDrops checks that whole messages are dropped, whatever their fragments and what comes between them.
func TestMessageRateDrops(t *testing.T) {
	forEachDispatch(t, func(t *testing.T, cfg Config, inline bool) {
		f := start(t, cfg, map[string]*Route{"/": {
			Handler: echo, Inline: inline, MessageRate: rarely(2), OverRate: RateDrop,
		}})
		p := f.dial(t, "/")
		p.send(ws.OpText, []byte("1"))
		p.send(ws.OpText, []byte("2"))
		for range 3 { // dropped: messages, a fragmented one, and pings
			p.send(ws.OpText, []byte("no"))
			p.write(unfinished(ws.OpText, "n"))
			p.send(ws.OpPing, []byte("no"))
			p.send(ws.OpContinuation, []byte("o"))
		}
		p.want(ws.OpText, []byte("1"))
		p.want(ws.OpText, []byte("2"))
		until(t, "all were dropped", func() bool { return f.Stats().Limits["message_rate"] == 9 })
		f.onLoop(func() { f.meters[f.Lookup(1)].next = 0 }) // the time of the burst has passed
		p.write(unfinished(ws.OpText, "3"))
		p.send(ws.OpContinuation, []byte("4"))
		p.want(ws.OpText, []byte("34"))
		if s := f.Stats(); s.TextIn != 3 || s.PartialBytes != 0 {
			t.Errorf("got %d messages, %d bytes left; want 3", s.TextIn, s.PartialBytes)
		}
	})
}

// rated reports whether connection 1 waits for its message rate.
func (f *fixture) rated() (waits bool) {
	f.onLoop(func() {
		if c := f.Lookup(1); c != nil {
			waits = c.loopBits&bitRated != 0
		}
	})
	return waits
}

// forgive makes the time pass in which the bucket of connection 1 fills.
func (f *fixture) forgive() {
	f.onLoop(func() {
		c := f.Lookup(1)
		f.meters[c].next = 0
		c.schedule()
	})
}

// TestMessageRateWaits checks that nothing is lost, that the connection is read later, and that it does not count as
// silent meanwhile.
func TestMessageRateWaits(t *testing.T) {
	forEachDispatch(t, func(t *testing.T, cfg Config, inline bool) {
		f := start(t, cfg, map[string]*Route{"/": {
			Handler: echo, Inline: inline, MessageRate: rarely(2), OverRate: RateWait,
		}})
		p := f.dial(t, "/")
		for round := range 3 {
			for i := range 2 {
				p.send(ws.OpText, []byte{byte(i)})
				p.want(ws.OpText, []byte{byte(i)})
			}
			p.send(ws.OpText, []byte("later"))
			until(t, "it waits", f.rated)
			f.onLoop(func() {
				c := f.Lookup(1)
				idle := c.route.IdleTimeout
				c.lastRead, c.route.IdleTimeout = -1<<60, 1
				c.keepAlive()
				c.route.IdleTimeout = idle
				if c.phase.Load() != phaseOpen {
					t.Error("it was closed as silent, and is not read")
				}
			})
			if s := f.Stats(); s.TextIn != uint64(round*3+2) || s.Limits["message_rate"] != uint64(round+1) {
				t.Errorf("round %d: got %d messages, limits %v", round, s.TextIn, s.Limits)
			}
			f.forgive()
			p.want(ws.OpText, []byte("later"))
			f.forgive()
		}
	})
}

// TestCloseWhileItWaits checks that the closing handshake does not wait for the message rate.
func TestCloseWhileItWaits(t *testing.T) {
	forEachDispatch(t, func(t *testing.T, cfg Config, inline bool) {
		f := start(t, cfg, map[string]*Route{"/": {
			Handler: echo, Inline: inline, MessageRate: rarely(1), OverRate: RateWait, CloseTimeout: time.Hour,
		}})
		p := f.dial(t, "/")
		p.send(ws.OpText, nil)
		p.want(ws.OpText, nil)
		p.send(ws.OpText, []byte("not read in time"))
		until(t, "it waits", f.rated)
		if err := f.Lookup(1).Close(ws.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		p.wantClose(ws.CloseNormal)
		p.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232}))
		p.wantEnd()
	})
}

// TestMaxLifetime checks that a connection ends with 1012, and that lifetimes are at most a tenth shorter.
func TestMaxLifetime(t *testing.T) {
	forEachDispatch(t, func(t *testing.T, cfg Config, inline bool) {
		f := start(t, cfg, map[string]*Route{
			"/":     {Handler: echo, Inline: inline, MaxLifetime: time.Hour},
			"/ever": {Handler: echo, Inline: inline},
		})
		p, other := f.dial(t, "/"), f.dial(t, "/ever")
		f.onLoop(func() {
			c := f.Lookup(1)
			opened, ends := c.lastRead, f.meters[c].ends
			if left := time.Duration(ends - opened); left > time.Hour+time.Minute || left < 54*time.Minute {
				t.Errorf("%s are left, want an hour or a tenth less", left)
			}
			c.keepAlive()
			if c.phase.Load() != phaseOpen {
				t.Error("it ended too early")
			}
			f.meters[c].ends = 1
			c.schedule()
			if len(f.meters) != 1 {
				t.Errorf("%d meters, want one", len(f.meters))
			}
		})
		p.send(ws.OpText, []byte("busy")) // traffic does not extend it
		if why := p.wantClose(ws.CloseServiceRestart); why != "maximum lifetime" {
			t.Errorf("got %q", why)
		}
		if n := f.Stats().Limits["lifetime"]; n != 1 {
			t.Errorf("counted %d times, want once", n)
		}
		other.send(ws.OpText, []byte("x"))
		other.want(ws.OpText, []byte("x"))
	})
}

// TestRatedEchoDoesNotAllocate checks that a message rate costs no memory per message.
func TestRatedEchoDoesNotAllocate(t *testing.T) {
	k, next := EventRate{PerSecond: 1000}.cadence(0), int64(0)
	if n := testing.AllocsPerRun(100, func() { k.take(&next, 5) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// TestDroppedMessagesAreInTheWindow checks that a client with context takeover may refer to messages that were dropped
// because of the rate.
func TestDroppedMessagesAreInTheWindow(t *testing.T) {
	for _, parameters := range []string{"", "; client_no_context_takeover"} {
		f := start(t, Config{}, map[string]*Route{"/": {
			Handler: echo, MessageRate: rarely(1), OverRate: RateDrop, Compression: &deflate.Config{Takeover: true},
		}})
		c := f.squeeze(t, "/", parameters)
		r := rand.New(rand.NewPCG(15, 16))
		first, second := chat(r, 2000), chat(r, 2000)
		c.sendPacked(ws.OpText, first)
		c.wantPlain(ws.OpText, first)
		c.sendPacked(ws.OpText, second)
		until(t, "it is dropped", func() bool { return f.Stats().Limits["message_rate"] == 1 })
		f.forgive()
		c.sendPacked(ws.OpText, second)
		c.wantPlain(ws.OpText, second)
		if n := f.Stats().TextIn; n != 2 {
			t.Errorf("%q: got %d messages, want 2", parameters, n)
		}
	}
}

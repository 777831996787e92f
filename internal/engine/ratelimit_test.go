package engine

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// still is a clock that the test advances.
type still struct {
	f  *fixture
	ns atomic.Int64
}

// stopTime gives the rate limiter of f a clock that stands still.
func stopTime(f *fixture) *still {
	s := &still{f: f}
	s.ns.Store(reactor.Monotonic())
	f.limiter.mu.Lock()
	defer f.limiter.mu.Unlock()
	f.limiter.now = s.ns.Load
	return s
}

// pass advances the clock, and the deadlines of connections that wait.
func (s *still) pass(d time.Duration) {
	s.ns.Add(int64(d))
	s.f.onLoop(func() {
		for _, c := range s.f.conns {
			if c == nil {
				continue
			}
			_, in := s.f.limiter.due(c.key.Index, dirIn)
			if _, out := s.f.limiter.due(c.key.Index, dirOut); in || out {
				s.f.Timeout(c.key)
			}
		}
	})
}

// passAll advances the clock by hours until f is done.
func (s *still) passAll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	until(t, what, func() bool { s.pass(time.Hour); return ok() })
}

const slow = 16 << 10 // a rate whose burst is minBurst

func limited(pump bool, each, all Rate) Config {
	cfg := portable(pump)
	cfg.ConnRate, cfg.Rate = each, all
	return cfg
}

// collect reads count messages in the background and sends them to the channel.
func collect(p *peer, count int) <-chan []byte {
	list := make(chan []byte, count)
	go func() { // ends with the connection
		defer close(list)
		for range count {
			ev, err := p.next()
			if err != nil || ev.Kind != ws.KindData {
				return
			}
			list <- ev.Data
		}
	}()
	return list
}

// TestOutputWaits: output beyond the burst leaves only in time, complete and in order.
func TestOutputWaits(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		for _, tt := range []struct {
			name      string
			each, all Rate
		}{
			{"of each", Rate{Out: slow}, Rate{}},
			{"of all", Rate{}, Rate{Out: slow}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				opened := make(chan *Conn, 1)
				f := start(t, limited(pump, tt.each, tt.all), map[string]*Route{"/": {
					Handler: funcs{open: func(c *Conn) { opened <- c }},
				}})
				time := stopTime(f)
				p := f.dial(t, "/")
				c := <-opened
				const count, size = 30, 20_000
				for i := range count {
					c.Send(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
				}
				until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_out"] > 0 })
				f.onLoop(func() {})
				if got := f.Stats().BytesOut; got > minBurst {
					t.Errorf("%d bytes have left while no time passed, want at most the burst of %d", got, minBurst)
				}
				time.pass(second)
				until(t, "the next second's share has left", func() bool { return f.Stats().BytesOut >= minBurst })
				f.onLoop(func() {})
				if got := f.Stats().BytesOut; got > minBurst+slow {
					t.Errorf("%d bytes have left in a second, want at most %d", got, minBurst+slow)
				}
				list := collect(p, count)
				time.passAll(t, "all has left", func() bool { return f.Stats().QueueBytes == 0 })
				for i := range count {
					if m := <-list; !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, size)) {
						t.Fatalf("message %d: got %d bytes (%.10q)", i, len(m), m)
					}
				}
			})
		}
	})
}

// TestInputWaits: a peer that sends beyond the burst is read only in time, and does not count as silent meanwhile.
func TestInputWaits(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		var bytesIn atomic.Int64
		opened := make(chan *Conn, 1)
		f := start(t, limited(pump, Rate{In: slow}, Rate{}), map[string]*Route{"/": {
			IdleTimeout: time.Minute, PingInterval: 30 * time.Second,
			Handler: funcs{
				open:    func(c *Conn) { opened <- c },
				message: func(_ *Conn, _ ws.Opcode, b []byte) { bytesIn.Add(int64(len(b))) },
			},
		}})
		clock := stopTime(f)
		p := f.dial(t, "/")
		c := <-opened
		const count, size = 30, 20_000
		go func() { // ends when all is written, or with the connection
			var stream []byte
			for range count {
				stream = ws.AppendMaskedFrame(stream, ws.OpBinary, 1, make([]byte, size))
			}
			_, _ = p.conn.Write(stream)
		}()
		until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_in"] > 0 })
		f.onLoop(func() {
			if c.loopBits&bitHeld == 0 {
				t.Error("the connection is read")
			}
			c.lastRead -= int64(time.Hour) // as if it had been silent
			c.lastPing -= int64(time.Hour)
			f.Timeout(c.key)
			if c.phase.Load() != phaseOpen || c.out != nil {
				t.Error("a connection that is not read was pinged or closed")
			}
		})
		if got := f.Stats().BytesIn; got > minBurst+minShare+1000 { // with the handshake
			t.Errorf("%d bytes were read while no time passed, want at most a burst and a share", got)
		}
		before := f.Stats().BytesIn
		for i := range uint64(5) {
			clock.pass(second / 4) // a share flows in; earlier bytes may come with it
			f.onLoop(func() {})
			if got := f.Stats().BytesIn - before; got > (i+2)*minShare {
				t.Errorf("%d bytes were read for %d shares of %d", got, i+1, minShare)
			}
		}
		clock.passAll(t, "all was read", func() bool { return bytesIn.Load() == count*size })
		f.onLoop(func() {
			if silent := f.loop.Now() - c.lastRead; silent > int64(time.Minute) {
				t.Errorf("silent for %v", time.Duration(silent))
			}
		})
		p.send(ws.OpPing, []byte("still there?"))
		clock.passAll(t, "the pong has left", func() bool { return f.Stats().QueueBytes == 0 })
		if ev, err := p.next(); err != nil || ev.Kind != ws.KindPong {
			t.Errorf("got %+v, %v, want the pong", ev, err)
		}
	})
}

// TestControlFramesPassWhatWaits: pings and pongs do not wait behind a queue that a rate limit delays.
func TestControlFramesPassWhatWaits(t *testing.T) {
	opened := make(chan *Conn, 1)
	f := start(t, limited(false, Rate{Out: slow}, Rate{}), map[string]*Route{"/": {
		Handler: funcs{open: func(c *Conn) { opened <- c }}, PingInterval: time.Hour, IdleTimeout: -1,
	}})
	clock := stopTime(f)
	p := f.dial(t, "/")
	c := <-opened
	const count = 30
	for range count {
		c.Send(ws.OpBinary, make([]byte, 20_000))
	}
	until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_out"] > 0 })
	for range 5 {
		p.send(ws.OpPing, []byte("?"))
	}
	f.onLoop(func() {
		c.lastPing, c.lastRead = -int64(time.Hour), -int64(time.Hour)
		f.Timeout(c.key)
	})
	until(t, "the pings are read", func() bool { return f.Stats().Limits["pongs"] == 4 })
	list := make(chan ws.Kind, count+2)
	go func() { // ends with the connection, or with the last event
		for range count + 2 {
			ev, err := p.next()
			if err != nil {
				break
			}
			list <- ev.Kind
		}
		close(list)
	}()
	clock.passAll(t, "all has left", func() bool { return f.Stats().QueueBytes == 0 })
	at, place := make(map[ws.Kind]int), 0
	for kind := range list {
		at[kind] = place
		place++
	}
	if place != count+2 {
		t.Fatalf("%d events arrived, want %d", place, count+2)
	}
	// Four messages have left with the burst or have begun to.
	if at[ws.KindPing] > 5 || at[ws.KindPong] > 5 {
		t.Errorf("the ping came at %d, the pong at %d, behind what waited", at[ws.KindPing], at[ws.KindPong])
	}
}

// TestCloseWaitsForItsRate: what was sent before Close arrives, and then the close frame, however long the rate limit
// delays them. The delay does not count against the close timeout.
func TestCloseWaitsForItsRate(t *testing.T) {
	opened := make(chan *Conn, 1)
	f := start(t, limited(false, Rate{In: slow, Out: slow}, Rate{}), map[string]*Route{"/": {
		Handler: funcs{open: func(c *Conn) { opened <- c }}, CloseTimeout: patience,
	}})
	clock := stopTime(f)
	p := f.dial(t, "/")
	c := <-opened
	const count = 30
	for range count {
		c.Send(ws.OpBinary, make([]byte, 20_000))
	}
	until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_out"] > 0 })
	if err := c.Close(ws.CloseNormal, "bye"); err != nil {
		t.Fatal(err)
	}
	f.onLoop(func() {
		c.lastPing -= 2 * int64(patience) // as if CloseTimeout had passed
		f.Timeout(c.key)
		if f.Len() != 1 || f.Stats().Limits["close_time"] != 0 {
			t.Error("the connection was cut off while it was held back")
		}
	})
	list := collect(p, count)
	clock.passAll(t, "all has left", func() bool { return f.Stats().QueueBytes == 0 })
	got := 0
	for range list {
		got++
	}
	if got != count {
		t.Fatalf("%d messages arrived, want %d", got, count)
	}
	p.wantClose(ws.CloseNormal)
	p.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232}))
	p.wantEnd()
	f.onLoop(func() {
		if got := len(f.limiter.turns); got != 0 {
			t.Errorf("%d connections are remembered, want none", got)
		}
	})
}

// TestAFullQueueAppliesItsPolicy: a rate limit makes a queue grow, whose own limit still holds. The close frame still
// gets through.
func TestAFullQueueAppliesItsPolicy(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		opened := make(chan *Conn, 1)
		f := start(t, limited(pump, Rate{Out: slow}, Rate{}), map[string]*Route{"/": {
			Handler: funcs{open: func(c *Conn) { opened <- c }}, QueueLimit: 256 << 10, CloseTimeout: patience,
		}})
		clock := stopTime(f)
		p := f.dial(t, "/")
		c := <-opened
		if sent := fill(t, c, Closed); sent < (minBurst+256<<10)/(8<<10)-2 {
			t.Errorf("closed at message %d, want a burst and a queue before", sent)
		}
		closed := make(chan string, 1)
		go func() { closed <- p.wantClose(ws.CloseTryAgainLater) }() // ends with the connection
		clock.passAll(t, "all has left", func() bool { return f.Stats().QueueBytes == 0 })
		<-closed
	})
}

// TestOthersPassWhileOneWaits: a connection that has reached its rate does not delay others.
func TestOthersPassWhileOneWaits(t *testing.T) {
	f := start(t, limited(false, Rate{In: slow, Out: slow}, Rate{In: 64 << 20, Out: 64 << 20}),
		map[string]*Route{"/": {Handler: echo, Inline: true}})
	stopTime(f)
	greedy, modest := f.dial(t, "/"), f.dial(t, "/")
	for range 5 {
		greedy.send(ws.OpBinary, make([]byte, 20_000))
	}
	until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_in"]+f.Stats().Limits["rate_out"] > 0 })
	for range 100 {
		modest.send(ws.OpText, []byte("hello"))
		modest.want(ws.OpText, []byte("hello"))
	}
}

// TestAllShareARate: two connections that send as much as they can get equal shares, whichever was first.
func TestAllShareARate(t *testing.T) {
	var got, sent [2]atomic.Int64
	route := func(i int) *Route {
		return &Route{Inline: true, Handler: funcs{message: func(_ *Conn, _ ws.Opcode, b []byte) { got[i].Add(int64(len(b))) }}}
	}
	f := start(t, limited(false, Rate{}, Rate{In: 1 << 20}), map[string]*Route{"/0": route(0), "/1": route(1)})
	clock := stopTime(f)
	for i, path := range []string{"/0", "/1"} {
		p := f.dial(t, path)
		go func() { // ends with the connection
			frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 0, make([]byte, 1000))
			for {
				if _, err := p.conn.Write(frame); err != nil {
					return
				}
				sent[i].Add(1000)
			}
		}()
	}
	bothWait := func() bool {
		f.limiter.mu.Lock()
		defer f.limiter.mu.Unlock()
		want := got[0].Load()+2*maxShare <= sent[0].Load() && got[1].Load()+2*maxShare <= sent[1].Load()
		return want && f.limiter.lanes[dirIn].waiting == 2
	}
	until(t, "both wait", bothWait)
	before := [2]int64{got[0].Load(), got[1].Load()}
	const seconds = 20
	for range seconds * 10 {
		clock.pass(second / 10)
		until(t, "both wait again", bothWait)
	}
	a, b := got[0].Load()-before[0], got[1].Load()-before[1]
	if d := a - b; d > (a+b)/8 || d < -(a+b)/8 {
		t.Errorf("one got %d bytes and the other %d", a, b)
	}
	if sum, want := a+b, int64(seconds<<20); sum > want+2*minBurst*4 || sum < want/2 {
		t.Errorf("together %d bytes in %d s, want about %d", sum, seconds, want)
	}
}

// TestShortOfMemory: handshakes are refused, and open connections continue.
func TestShortOfMemory(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	open := f.dial(t, "/")
	f.SetShort(true)
	p := f.connect(t, "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	head := string(p.head())
	for _, want := range []string{"HTTP/1.1 503 ", "\r\nRetry-After: 5\r\n"} {
		if !bytes.Contains([]byte(head), []byte(want)) {
			t.Errorf("got %q, want %q in it", head, want)
		}
	}
	wantReadable(t, head)
	if got := f.Stats().Limits["memory"]; got != 1 {
		t.Errorf("memory: got %d, want 1", got)
	}
	open.send(ws.OpText, []byte("still here"))
	open.want(ws.OpText, []byte("still here"))
	f.SetShort(false)
	f.dial(t, "/")
}

// TestCloseReadsWhatWaits: a connection that the server closes is read to its end whatever its rate, because the peer's
// close frame comes after bytes that had to wait.
func TestCloseReadsWhatWaits(t *testing.T) {
	opened := make(chan *Conn, 1)
	closed := make(chan ws.CloseCode, 1)
	f := start(t, limited(false, Rate{In: slow}, Rate{}), map[string]*Route{"/": {
		CloseTimeout: patience,
		Handler: funcs{
			open:  func(c *Conn) { opened <- c },
			close: func(_ *Conn, code ws.CloseCode, _ string) { closed <- code },
		},
	}})
	stopTime(f)
	p := f.dial(t, "/")
	c := <-opened
	stream := ws.AppendMaskedFrame(nil, ws.OpBinary, 1, make([]byte, 2*minBurst))
	p.write(ws.AppendMaskedFrame(stream, ws.OpClose, 1, []byte{3, 232}))
	until(t, "the rate is reached", func() bool { return f.Stats().Limits["rate_in"] > 0 })
	if err := c.Close(ws.CloseNormal, ""); err != nil {
		t.Fatal(err)
	}
	p.wantClose(ws.CloseNormal)
	p.wantEnd()
	if got := <-closed; got != ws.CloseNormal {
		t.Errorf("closed with %d, want 1000", got)
	}
}

// TestRatesEndTheirWaits: waits end by themselves, in both directions.
func TestRatesEndTheirWaits(t *testing.T) {
	const rate, count, size = 1 << 20, 60, 20_000
	for _, tt := range []struct {
		name string
		rate Rate
	}{
		{"rate_in", Rate{In: rate}},
		{"rate_out", Rate{Out: rate}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, pump bool) {
				f := start(t, limited(pump, tt.rate, tt.rate), map[string]*Route{"/": {Inline: true, Handler: echo}})
				p := f.dial(t, "/")
				list := collect(p, count)
				for i := range count {
					p.send(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
				}
				for i := range count {
					if m := <-list; !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, size)) {
						t.Fatalf("message %d: got %d bytes (%.10q)", i, len(m), m)
					}
				}
				if f.Stats().Limits[tt.name] == 0 {
					t.Error("nothing waited")
				}
			})
		})
	}
}

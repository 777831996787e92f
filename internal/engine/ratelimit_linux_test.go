package engine

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// slowPair returns a pair whose rate limiters have clocks that stand still.
func slowPair(t *testing.T, routes func() map[string]*Route) *pair {
	var ids atomic.Uint64
	cfg := limited(false, Rate{In: slow, Out: slow}, Rate{In: 64 << 20, Out: 64 << 20})
	cfg.NewID, cfg.Reactor = func() uint64 { return ids.Add(1) }, reactor.Options{Wait: reactor.WaitVisible}
	p := &pair{t: t, here: start(t, cfg, routes()), there: start(t, cfg, routes()), ready: make(chan struct{}, 1)}
	stopTime(p.here)
	stopTime(p.there)
	return p
}

// TestMoveWhatWaitsForItsRate: a connection that is limited in both directions moves, and nothing of it is lost. Each
// worker gives it a burst, so it finishes although no time passes.
func TestMoveWhatWaitsForItsRate(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		t.Run(path, func(t *testing.T) {
			j := new(journal)
			p := slowPair(t, j.routes)
			c := p.here.dial(t, path)
			const count, size = 30, 20_000
			go func() { // ends when all is written, or with the connection
				for i := range count {
					frame := ws.AppendMaskedFrame(nil, ws.OpBinary, 1, bytes.Repeat([]byte{byte(i)}, size))
					if _, err := c.conn.Write(frame); err != nil {
						return
					}
				}
			}()
			list := collect(c, count)
			moves := 0
			for got := 0; got < count; {
				until(t, "the rate is reached", func() bool {
					p.here.limiter.mu.Lock()
					defer p.here.limiter.mu.Unlock()
					return p.here.limiter.lanes[dirIn].waiting+p.here.limiter.lanes[dirOut].waiting > 0 || len(list) == count-got
				})
				for len(list) > 0 {
					if m := <-list; !bytes.Equal(m, bytes.Repeat([]byte{byte(got)}, size)) {
						t.Fatalf("message %d: got %d bytes (%.10q)", got, len(m), m)
					}
					got++
				}
				if got < count {
					p.move()
					moves++
				}
			}
			if moves < 3 {
				t.Errorf("it moved %d times: nothing was held back", moves)
			}
			if j.opens.Load() != 1 || j.closes.Load() != 0 {
				t.Errorf("%d opened, %d closed", j.opens.Load(), j.closes.Load())
			}
			_ = c.conn.Close()
			until(t, "nobody is left", func() bool { return p.here.Len()+p.there.Len() == 0 })
			for _, e := range []*fixture{p.here, p.there} {
				e.onLoop(func() {
					if len(e.limiter.turns) != 0 || e.limiter.lanes[dirIn].waiting+e.limiter.lanes[dirOut].waiting != 0 {
						t.Error("the rateLimiter remembers a connection that has left")
					}
				})
			}
		})
	}
}

// TestThawWhatWaitsForItsRate: a connection that is limited and does not move after all continues.
func TestThawWhatWaitsForItsRate(t *testing.T) {
	j := new(journal)
	p := slowPair(t, j.routes)
	c := p.here.dial(t, "/inline")
	const count, size = 20, 20_000
	go func() { // ends when all is written, or with the connection
		for range count {
			if _, err := c.conn.Write(ws.AppendMaskedFrame(nil, ws.OpBinary, 1, make([]byte, size))); err != nil {
				return
			}
		}
	}()
	list := collect(c, count)
	until(t, "all has arrived", func() bool {
		on(t, p.here, func() {
			p.here.Depart(-1, nil)
			b, _ := p.here.Freeze(1)
			p.here.Thaw(b)
			p.here.Stay()
		})
		return len(list) == count
	})
	if p.here.Stats().Limits["rate_in"] == 0 {
		t.Error("nothing was held back")
	}
}

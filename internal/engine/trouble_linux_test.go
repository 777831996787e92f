package engine

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// TestThawHearsWhatWasMissed: what is published while a connection is frozen reaches it once when it continues here.
func TestThawHearsWhatWasMissed(t *testing.T) {
	p := startPair(t, newsRoutes(t))
	c := p.here.dial(t, "/")
	until(t, "it is subscribed", func() bool { return p.here.Subscriptions() == 1 })
	publish := func(seq uint64) {
		on(t, p.here, func() { p.here.Publish(seq, "news", ws.OpText, fmt.Appendf(nil, "%d", seq)) })
	}
	on(t, p.here, p.here.Record)
	publish(1)
	var b *Batch
	on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(1) })
	publish(2)
	publish(3)
	on(t, p.here, func() { p.here.Thaw(b); p.here.Stay(); p.here.Unrecord() })
	publish(4)
	for i := range 4 {
		c.want(ws.OpText, fmt.Appendf(nil, "%d", i+1))
	}
}

// TestMovedOnFromAWorkerThatIsBehind: a connection does not get again what it had two workers ago.
func TestMovedOnFromAWorkerThatIsBehind(t *testing.T) {
	p := startPair(t, newsRoutes(t))
	c := p.here.dial(t, "/")
	until(t, "it is subscribed", func() bool { return p.here.Subscriptions() == 1 })
	publish := func(e *fixture, seq uint64) {
		on(t, e, func() { e.Publish(seq, "news", ws.OpText, fmt.Appendf(nil, "%d", seq)) })
	}
	first := p.here
	for _, e := range []*fixture{p.here, p.there} {
		on(t, e, e.Record)
	}
	publish(first, 1)
	publish(first, 2)
	for range 2 { // there, where only 1 was published, and back
		var b *Batch
		var position uint64
		on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(1); position = p.here.position })
		p.carry(b, position)
		on(t, p.here, func() { p.here.Stay() })
		p.here, p.there = p.there, p.here
		if p.here != first {
			publish(p.here, 1)
		}
	}
	publish(first, 3)
	for i := range 3 {
		c.want(ws.OpText, fmt.Appendf(nil, "%d", i+1))
	}
}

// TestSuspendIsAskedForAFew: of many connections, only those that are to move and a few more are suspended.
func TestSuspendIsAskedForAFew(t *testing.T) {
	var suspended atomic.Int64
	p := startPair(t, func() map[string]*Route {
		return map[string]*Route{"/": {Carries: true, Handler: funcs{
			suspend: func(*Conn) ([]byte, error) { suspended.Add(1); return nil, nil },
		}}}
	})
	const open = 3 * spareAsked
	for range open {
		p.here.dial(t, "/")
	}
	until(t, "all callbacks of Open were made", func() bool {
		idle := true
		on(t, p.here, func() {
			for _, c := range p.here.conns {
				if c != nil {
					c.mu.Lock()
					idle = idle && c.phase.Load() == phaseOpen && c.box == nil
					c.mu.Unlock()
				}
			}
		})
		return idle
	})
	on(t, p.here, func() { p.here.Depart(1, nil); p.here.Freeze(1); p.here.Stay() })
	until(t, "some were asked", func() bool { return suspended.Load() > 0 })
	if n := suspended.Load(); n == 0 || n > spareAsked+1 {
		t.Errorf("Suspend was called %d times, want at most %d", n, spareAsked+1)
	}
}

// TestOpenComesBeforeSuspend: a connection opens while its worker is about to move it.
func TestOpenComesBeforeSuspend(t *testing.T) {
	for range 20 {
		var mu sync.Mutex
		var calls []string
		note := func(s string) { mu.Lock(); calls = append(calls, s); mu.Unlock() }
		p := startPair(t, func() map[string]*Route {
			return map[string]*Route{"/": {Carries: true, Handler: funcs{
				open:    func(*Conn) { note("open") },
				suspend: func(*Conn) ([]byte, error) { note("suspend"); return nil, nil },
				resume:  func(*Conn, []byte) error { note("resume"); return nil },
			}}}
		})
		on(t, p.there, p.there.Record)
		on(t, p.here, func() { p.here.Depart(-1, nil) })
		c := p.here.connect(t, fmt.Sprintf(request, "/"))
		var b *Batch
		until(t, "it was frozen when it was open", func() bool {
			on(t, p.here, func() {
				b, _ = p.here.Freeze(1)
				if b.Len() == 1 && b.conns[0].phase != phaseOpen {
					p.here.Thaw(b)
				}
			})
			return b.Len() == 1
		})
		p.carry(b, 0)
		on(t, p.here, func() { p.here.Stay() })
		c.head()
		until(t, "all was called", func() bool { mu.Lock(); defer mu.Unlock(); return len(calls) == 3 })
		if want := []string{"open", "suspend", "resume"}; !slices.Equal(calls, want) {
			t.Fatalf("got %v, want %v", calls, want)
		}
	}
}

// newsRoutes returns an endpoint whose connections subscribe to the news.
func newsRoutes(t *testing.T) func() map[string]*Route {
	return func() map[string]*Route {
		return map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) {
			if _, err := c.Subscribe("news"); err != nil {
				t.Error(err)
			}
		}}}}
	}
}

package engine

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// calls are those of Config.Subscribed of several engines.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) of(engine string) func(*Conn, string, bool) {
	return func(conn *Conn, topic string, subscribed bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, fmt.Sprint(engine, " ", conn.ID(), " ", topic, " ", subscribed))
	}
}

// want waits until calls were made, and forgets them.
func (c *calls) want(t *testing.T, list ...string) {
	t.Helper()
	until(t, "all calls are made", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.list) >= len(list)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.list, list) {
		t.Fatalf("got %q, want %q", c.list, list)
	}
	c.list = nil
}

// TestSubscribed: Subscribed is called for each subscription that begins or ends, in the engine that has it. A
// connection that moves begins there before it ends here; one that comes back has never left.
func TestSubscribed(t *testing.T) {
	var c calls
	var ids atomic.Uint64
	routes := func() map[string]*Route {
		return map[string]*Route{"/": {Inline: true, Handler: funcs{message: func(c *Conn, _ ws.Opcode, b []byte) {
			if topic := string(b[1:]); b[0] == '+' {
				_, _ = c.Subscribe(topic)
			} else {
				c.Unsubscribe(topic)
			}
		}}}}
	}
	cfg := Config{NewID: func() uint64 { return ids.Add(1) }, Reactor: reactor.Options{Wait: reactor.WaitVisible}}
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	cfg.Subscribed = c.of("here")
	p.here = start(t, cfg, routes())
	cfg.Subscribed = c.of("there")
	p.there = start(t, cfg, routes())
	a := p.here.dial(t, "/")
	for _, text := range []string{"+x", "+x", "+y", "-y", "-z"} {
		a.send(ws.OpText, []byte(text))
	}
	c.want(t, "here 1 x true", "here 1 y true", "here 1 y false")
	on(t, p.here, func() {
		p.here.Depart(-1, func() {})
		b, _ := p.here.Freeze(10)
		p.here.Thaw(b)
		p.here.Stay()
	})
	c.want(t)
	if n := p.move(); n != 1 {
		t.Fatalf("%d connections have moved", n)
	}
	c.want(t, "there 1 x true", "here 1 x false")
	a.send(ws.OpText, []byte("+y"))
	c.want(t, "there 1 y true")
	_ = a.conn.Close()
	until(t, "the subscriptions have ended", func() bool { return p.here.Subscriptions() == 0 })
	c.mu.Lock()
	slices.Sort(c.list)
	c.mu.Unlock()
	c.want(t, "there 1 x false", "there 1 y false")
}

// BenchmarkSubscribe subscribes a connection to a topic and ends that, without and with somebody who is told.
func BenchmarkSubscribe(b *testing.B) {
	for name, f := range map[string]func(*Conn, string, bool){"untold": nil, "told": func(*Conn, string, bool) {}} {
		b.Run(name, func(b *testing.B) {
			e, err := New(Config{Subscribed: f})
			if err != nil {
				b.Fatal(err)
			}
			c := &Conn{eng: e, route: e.orphans()}
			c.phase.Store(phaseOpen)
			for b.Loop() {
				_, _ = c.Subscribe("ticker:EURUSD")
				c.Unsubscribe("ticker:EURUSD")
			}
		})
	}
}

// BenchmarkPublish publishes to a topic that nobody is subscribed to.
func BenchmarkPublish(b *testing.B) {
	e, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e.Publish(1, "ticker:EURUSD", ws.OpText, []byte("1.0723"))
	}
}

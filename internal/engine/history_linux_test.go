package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// library is the history of the topic "kept", in place of the hub, for one or two engines. Its methods run on the loop
// of the engine that asks, or on that of the test.
type library struct {
	mu      sync.Mutex
	seq     uint64
	list    []Kept
	first   int // how many are no longer kept
	asked   []Query
	silent  bool // it does not answer by itself
	pageLen int
	frames  int
}

func (l *library) page(q Query) Page {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := int(q.After.Offset)
	p := Page{Token: q.Token, Topic: q.Topic, After: q.After}
	switch {
	case q.After.Epoch == 0:
		from = max(l.first, len(l.list)-int(q.Last))
		p.After = Place{5, uint64(from)}
	case q.After.Epoch != 5 || from > len(l.list) || from < l.first:
		return Page{Token: q.Token, Topic: q.Topic, After: Place{5, uint64(len(l.list))}, Lost: true}
	}
	p.Messages = l.list[from:]
	if l.pageLen > 0 && len(p.Messages) > l.pageLen {
		p.Messages, p.More = p.Messages[:l.pageLen], true
	}
	return p
}

// history returns the way of an engine to the library.
func (l *library) history(e func() *Engine) *History {
	return &History{
		Keeps: func(topic string) bool { return strings.HasPrefix(topic, "kept") },
		Recall: func(q Query) bool {
			l.mu.Lock()
			l.asked = append(l.asked, q)
			silent := l.silent
			l.mu.Unlock()
			return !silent && e().Post(func() { e().Past(l.page(q)) })
		},
		Frame: func(_ string, at Place, op ws.Opcode, payload []byte) (ws.Opcode, []byte) {
			l.mu.Lock()
			l.frames++
			l.mu.Unlock()
			return op, fmt.Appendf(nil, "%d:%s", at.Offset, payload)
		},
	}
}

// keep keeps a message without delivering it, and returns its number and place.
func (l *library) keep(text string) (seq uint64, at Place, m Kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	m = Kept{Op: ws.OpText, Payload: []byte(text)}
	l.list = append(l.list, m)
	return l.seq, Place{5, uint64(len(l.list))}, m
}

// queries returns how often the library was asked.
func (l *library) queries() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.asked)
}

// silence decides whether the library answers by itself.
func (l *library) silence(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = silent
}

// startReaders returns two engines whose connections subscribe from the place that their first message tells.
func startReaders(t *testing.T, change func(*Config)) (*pair, *library) {
	return startReadersOf(t, readerRoutes, change)
}

func startReadersOf(t *testing.T, routes func() map[string]*Route, change func(*Config)) (*pair, *library) {
	l := new(library)
	make1 := func() *fixture {
		var self atomic.Pointer[fixture]
		var ids uint64
		cfg := Config{
			NewID:   func() uint64 { ids++; return ids },
			Reactor: reactor.Options{Wait: reactor.WaitVisible},
			History: l.history(func() *Engine { return self.Load().Engine }),
		}
		if change != nil {
			change(&cfg)
		}
		f := start(t, cfg, routes())
		self.Store(f)
		return f
	}
	return &pair{t: t, here: make1(), there: make1(), ready: make(chan struct{}, 1)}, l
}

func readerRoutes() map[string]*Route {
	tell := func(c *Conn, topic string, r Recovered) {
		c.Send(ws.OpText, fmt.Appendf(nil, "%s %v %d @%d", topic, r.OK, r.Missed, r.At.Offset))
	}
	message := func(c *Conn, _ ws.Opcode, b []byte) {
		var from From
		var topic string
		if _, err := fmt.Sscanf(string(b), "%s %d %d %d", &topic, &from.After.Epoch, &from.After.Offset, &from.Last); err != nil {
			if c.Unsubscribe("kept") {
				c.Send(ws.OpText, []byte("left"))
			}
			return
		}
		r, err := c.SubscribeFrom(topic, from)
		switch {
		case err != nil:
			c.Send(ws.OpText, []byte(err.Error()))
		case !r.Pending:
			tell(c, topic, r)
		}
	}
	routes := make(map[string]*Route)
	for _, inline := range []bool{true, false} {
		path := map[bool]string{true: "/inline", false: "/work"}[inline]
		gap := func(c *Conn, topic string, n uint64) { c.Send(ws.OpText, fmt.Appendf(nil, "gap %s %d", topic, n)) }
		routes[path] = &Route{
			Inline: inline, Gaps: true, Recovered: tell, QueueLimit: 64 << 10,
			Handler: funcs{message: message, gap: gap},
		}
	}
	return routes
}

func (p *peer) text(s string) { p.send(ws.OpText, []byte(s)) }

// publish publishes messages on kept, in an engine.
func (l *library) publish(t *testing.T, f *fixture, texts ...string) {
	t.Helper()
	for _, text := range texts {
		on(t, f, func() {
			seq, at, m := l.keep(text)
			f.PublishPlaced(seq, "kept", at, m)
		})
	}
}

// lose keeps messages that an engine misses, and tells it of the gap.
func (l *library) lose(t *testing.T, f *fixture, topic string, texts ...string) {
	t.Helper()
	on(t, f, func() {
		var seq uint64
		for _, text := range texts {
			seq, _, _ = l.keep(text)
		}
		f.Gap(seq, Gap{Topic: topic, Missed: uint64(len(texts)), Kept: true})
	})
}

// TestRecovery: what a connection gets of what it has missed, inline and not.
func TestRecovery(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		p, l := startReaders(t, nil)
		l.publish(t, p.here, "a", "b", "c")
		l.mu.Lock()
		l.first, l.pageLen = 1, 1
		l.list[2].Except = 1 // the connection below
		l.mu.Unlock()
		c := p.here.dial(t, path)
		for _, row := range []struct{ ask, want string }{
			{"kept 0 0 0", "kept true 0 @3"},
			{"kept 0 0 9", "2:b|kept true 1 @3"},
			{"kept 5 1 0", "2:b|kept true 1 @3"},
			{"kept 5 3 0", "kept true 0 @3"},
			{"kept 5 0 0", "kept false 0 @3"}, // trimmed
			{"kept 5 4 0", "kept false 0 @3"}, // the future
			{"kept 6 3 0", "kept false 0 @3"}, // another epoch
			{"none 0 0 0", ErrNoHistory.Error()},
		} {
			c.text(row.ask)
			c.wantTexts(strings.Split(row.want, "|")...)
		}
		l.publish(t, p.here, "d")
		c.wantTexts("4:d")
		c.text("leave")
		c.wantTexts("left")
		l.publish(t, p.here, "e")
		c.text("kept 5 4 0")
		c.wantTexts("5:e", "kept true 1 @5")
	}
}

// TestOvertakenPage: a page that is older than what was published meanwhile is not the last one, and an answer to a
// question that was asked once more is ignored.
func TestOvertakenPage(t *testing.T) {
	p, l := startReaders(t, nil)
	l.publish(t, p.here, "a")
	l.silence(true)
	c := p.here.dial(t, "/inline")
	c.text("kept 5 0 0")
	until(t, "a question", func() bool { return l.queries() == 1 })
	old := l.page(l.asked[0])
	l.publish(t, p.here, "b")
	l.silence(false)
	on(t, p.here, func() { p.here.Past(old); p.here.Past(old) })
	c.wantTexts("1:a", "2:b", "kept true 2 @2")
}

// TestRecallIsRepeated: a question without an answer is asked again.
func TestRecallIsRepeated(t *testing.T) {
	p, l := startReaders(t, nil)
	l.publish(t, p.here, "a")
	l.silence(true)
	c := p.here.dial(t, "/work")
	c.text("kept 5 0 0")
	until(t, "a question", func() bool { return l.queries() == 1 })
	l.silence(false)
	c.wantTexts("1:a", "kept true 1 @1")
	if got := p.here.Stats().Limits["recall_time"]; got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

// TestRecoveryMoves: a connection that moves while it waits gets everything in the next worker, once.
func TestRecoveryMoves(t *testing.T) {
	p, l := startReaders(t, nil)
	l.publish(t, p.here, "a", "b")
	l.silence(true)
	c := p.here.dial(t, "/inline")
	c.text("kept 5 0 0")
	until(t, "a question", func() bool { return l.queries() == 1 })
	first := l.page(l.asked[0])
	first.Messages, first.More = first.Messages[:1], true
	old := p.here
	on(t, old, func() { old.Past(first) })
	c.wantTexts("1:a")
	l.silence(false)
	on(t, p.there, func() { p.there.Reached(2) })
	if n := p.move(); n != 1 {
		t.Fatalf("moved %d", n)
	}
	c.wantTexts("2:b", "kept true 2 @2")
	l.publish(t, old, "c") // nobody is there
	l.publish(t, p.here, "d")
	c.wantTexts("4:d")
}

// TestRepair: subscribers of a topic that keeps messages get those that their worker has missed. What is not kept is
// told.
func TestRepair(t *testing.T) {
	for _, topic := range []string{"kept", ""} {
		p, l := startReaders(t, nil)
		a, b := p.here.dial(t, "/inline"), p.here.dial(t, "/work")
		for _, c := range []*peer{a, b} {
			c.text("kept 0 0 0")
			c.wantTexts("kept true 0 @0")
		}
		l.publish(t, p.here, "1")
		l.lose(t, p.here, topic, "2", "3")
		l.publish(t, p.here, "4")
		for _, c := range []*peer{a, b} {
			c.wantTexts("1:1", "2:2", "3:3", "4:4")
		}
		l.mu.Lock()
		l.first = 6
		l.mu.Unlock()
		l.lose(t, p.here, topic, "5", "6")
		for _, c := range []*peer{a, b} {
			c.wantTexts("gap kept 2")
		}
		l.publish(t, p.here, "7")
		for _, c := range []*peer{a, b} {
			c.wantTexts("7:7")
		}
	}
}

// TestSlowRecovery: a history that is longer than the queue of a connection does not close it: the next page waits.
func TestSlowRecovery(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		p, l := startReaders(t, nil)
		const n = 2000
		padding := strings.Repeat("x", 4000)
		on(t, p.here, func() {
			for i := range n {
				l.keep(fmt.Sprint(i+1, " ", padding))
			}
		})
		l.mu.Lock()
		l.pageLen = 4
		l.mu.Unlock()
		c := p.here.dial(t, path)
		c.text("kept 5 0 0")
		until(t, "a full queue", func() bool {
			waits := false
			on(t, p.here, func() {
				p.here.topicsMu.Lock()
				defer p.here.topicsMu.Unlock()
				for _, list := range p.here.recoveries.of {
					waits = list[0].parked
				}
			})
			return waits
		})
		for i := range n {
			c.wantTexts(fmt.Sprint(i+1, ":", i+1, " ", padding))
		}
		c.wantTexts(fmt.Sprint("kept true ", n, " @", n))
	}
}

// TestManyRecover: connections that have missed the same share pages, and each message is encoded once for a page.
func TestManyRecover(t *testing.T) {
	p, l := startReaders(t, nil)
	l.publish(t, p.here, "a", "b")
	var all []*peer
	for range 3 * maxShared / 2 {
		all = append(all, p.here.dial(t, "/inline"))
	}
	on(t, p.here, func() {
		for _, c := range p.here.conns {
			if c != nil {
				if _, err := c.SubscribeFrom("kept", From{After: Place{Epoch: 5}}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for _, c := range all {
		c.wantTexts("1:a", "2:b", "kept true 2 @2")
	}
	if n := l.queries(); n != 2 {
		t.Errorf("got %d questions, want 2", n)
	}
	if s := p.here.Stats(); s.Recovered != uint64(len(all)) || s.Recalled != 4 {
		t.Errorf("got %d recovered, %d messages encoded, want %d, 4", s.Recovered, s.Recalled, len(all))
	}
}

// TestRecoveryEnds: a connection that ends, or unsubscribes, while it waits leaves nothing behind.
func TestRecoveryEnds(t *testing.T) {
	p, l := startReaders(t, nil)
	l.silence(true)
	gone, left := p.here.dial(t, "/work"), p.here.dial(t, "/inline")
	gone.text("kept 5 0 0")
	left.text("kept 5 0 0")
	left.text("kept 5 0 0")
	left.wantTexts(ErrRecovering.Error())
	left.text("leave")
	left.wantTexts("left")
	_ = gone.conn.Close()
	until(t, "nobody waits", func() bool {
		empty := false
		on(t, p.here, func() {
			h := p.here.recoveries
			empty = h.count == 0 && len(h.of)+len(h.topics)+len(h.places) == 0
		})
		return empty
	})
}

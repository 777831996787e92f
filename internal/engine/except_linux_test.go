package engine

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// TestExcept: a publication leaves out one connection, and no other.
func TestExcept(t *testing.T) {
	p := startPair(t, subscribesToNews(t))
	first, second := p.here.dial(t, "/"), p.here.dial(t, "/")
	until(t, "both are subscribed", func() bool { return p.here.Subscriptions() == 2 })
	ids := idsOf(t, p.here)
	for seq, except := range []uint64{0, ids[0], ids[1], 12345} {
		on(t, p.here, func() {
			p.here.PublishExcept(uint64(seq+1), "news", ws.OpText, fmt.Append(nil, seq), except)
		})
	}
	for i, want := range [][]string{{"0", "2", "3"}, {"0", "1", "3"}} {
		for _, text := range want {
			[]*peer{first, second}[i].want(ws.OpText, []byte(text))
		}
	}
}

// TestExceptWhileItMoves: a connection that was left out does not get the publication with what it has missed on its
// way.
func TestExceptWhileItMoves(t *testing.T) {
	p := startPair(t, subscribesToNews(t))
	first, second := p.here.dial(t, "/"), p.here.dial(t, "/")
	until(t, "both are subscribed", func() bool { return p.here.Subscriptions() == 2 })
	ids := idsOf(t, p.here)
	on(t, p.there, p.there.Record)
	var b *Batch
	on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(2) })
	on(t, p.there, func() {
		p.there.PublishExcept(1, "news", ws.OpText, []byte("1"), ids[0])
		p.there.PublishExcept(2, "news", ws.OpText, []byte("2"), ids[1])
		p.there.PublishExcept(3, "news", ws.OpText, []byte("3"), 0)
	})
	p.carry(b, 0)
	on(t, p.here, func() { p.here.Stay() })
	on(t, p.there, p.there.Unrecord)
	for i, want := range [][]string{{"2", "3"}, {"1", "3"}} {
		for _, text := range want {
			[]*peer{first, second}[i].want(ws.OpText, []byte(text))
		}
	}
}

// subscribesToNews returns routes whose connections subscribe to news.
func subscribesToNews(t *testing.T) func() map[string]*Route {
	return func() map[string]*Route {
		return map[string]*Route{"/": {Inline: true, Handler: funcs{open: func(c *Conn) {
			if _, err := c.Subscribe("news"); err != nil {
				t.Error(err)
			}
		}}}}
	}
}

// idsOf returns the ids of the connections, in the order in which they have come.
func idsOf(t *testing.T, f *fixture) (ids []uint64) {
	on(t, f, func() {
		for _, c := range f.conns {
			if c != nil {
				ids = append(ids, c.ID())
			}
		}
	})
	return ids
}

// TestAssign: connections are subscribed by the topic that they have, by id, and by what they are; MaxSubscriptions
// holds, and is counted.
func TestAssign(t *testing.T) {
	p := startPair(t, subscribesToNews(t))
	first, second := p.here.dial(t, "/"), p.here.dial(t, "/")
	until(t, "both are subscribed", func() bool { return p.here.Subscriptions() == 2 })
	ids := idsOf(t, p.here)
	seq := uint64(0)
	assign := func(a Assignment) {
		seq++
		on(t, p.here, func() { p.here.Assign(seq, &a) })
	}
	assign(Assignment{Topic: "all", Of: "news"})
	assign(Assignment{Topic: "one", Conn: ids[0]})
	assign(Assignment{Topic: "other", Match: func(c *Conn) bool { return c.ID() == ids[1] }})
	assign(Assignment{Topic: "rest", Of: "news", Except: ids[0]})
	assign(Assignment{Topic: "news", Conn: ids[1], Leave: true})
	assign(Assignment{Topic: "nobody", Conn: 12345})
	for topic, want := range map[string]int{"all": 2, "one": 1, "other": 1, "rest": 1, "news": 1, "nobody": 0} {
		if got := p.here.Members(topic); got != want {
			t.Errorf("%s: got %d members, want %d", topic, got, want)
		}
	}
	for i := range DefaultMaxSubscriptions {
		assign(Assignment{Topic: fmt.Sprint("many ", i), Conn: ids[0]})
	}
	if got := p.here.Stats().Limits["subscriptions"]; got == 0 {
		t.Error("subscriptions beyond the limit are not counted")
	}
	seq++
	on(t, p.here, func() { p.here.Publish(seq, "all", ws.OpText, []byte("x")) })
	first.want(ws.OpText, []byte("x"))
	second.want(ws.OpText, []byte("x"))
}

// TestAssignWhileItMoves: a connection on its way is subscribed at the place of the assignment among the publications,
// once, whichever of its workers has had more.
func TestAssignWhileItMoves(t *testing.T) {
	both := []func(*fixture){
		func(f *fixture) { f.Publish(1, "extra", ws.OpText, []byte("1")) },
		func(f *fixture) { f.Assign(2, &Assignment{Topic: "extra", Of: "news"}) },
		func(f *fixture) { f.Publish(3, "extra", ws.OpText, []byte("3")) },
		func(f *fixture) { f.Assign(4, &Assignment{Topic: "news", Conn: 1, Leave: true}) },
		func(f *fixture) { f.Publish(5, "news", ws.OpText, []byte("5")) },
		func(f *fixture) { f.Assign(6, &Assignment{Topic: "extra", Conn: 1, Leave: true}) },
		func(f *fixture) { f.Publish(7, "extra", ws.OpText, []byte("7")) },
		func(f *fixture) { f.Assign(8, &Assignment{Topic: "end", Match: func(*Conn) bool { return true }}) },
		func(f *fixture) { f.Publish(9, "end", ws.OpText, []byte("9")) },
	}
	for had := range len(both) + 1 { // by the worker that it leaves
		t.Run(fmt.Sprint(had), func(t *testing.T) {
			for _, there := range []int{0, had, len(both)} { // what the other one has had by then
				p := startPair(t, subscribesToNews(t))
				c := p.here.dial(t, "/")
				until(t, "it is subscribed", func() bool { return p.here.Subscriptions() == 1 })
				on(t, p.there, p.there.Record)
				for _, f := range both[:had] {
					on(t, p.here, func() { f(p.here) })
				}
				for _, f := range both[:there] {
					on(t, p.there, func() { f(p.there) })
				}
				var b *Batch
				on(t, p.here, func() { p.here.Depart(-1, nil); b, _ = p.here.Freeze(1) })
				p.carry(b, uint64(had))
				on(t, p.here, func() { p.here.Stay() })
				for _, f := range both[there:] {
					on(t, p.there, func() { f(p.there) })
				}
				on(t, p.there, p.there.Unrecord)
				c.want(ws.OpText, []byte("3"))
				c.want(ws.OpText, []byte("9"))
				if got := p.there.Members("end"); got != 1 || p.there.Subscriptions() != 1 {
					t.Errorf("had %d and %d: got %d of end, %d subscriptions; want 1 of each",
						had, there, got, p.there.Subscriptions())
				}
			}
		})
	}
}

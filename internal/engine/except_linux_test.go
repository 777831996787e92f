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

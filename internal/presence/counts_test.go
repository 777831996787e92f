package presence

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/broker"
)

// ear is a hub that keeps what a worker tells it, and may have a full link.
type ear struct {
	t     *rapid.T
	full  bool
	there map[place]string // info
	told  int
}

func (e *ear) Send(m []byte) error {
	if e.full {
		return errors.New("full")
	}
	for len(m) > 0 {
		v, n, err := broker.ParseEnvelope(m)
		if err != nil {
			e.t.Fatal(err)
		}
		m = m[n:]
		switch v.Kind {
		case broker.Enter:
			who, err := parseMember(v.Payload)
			if err != nil {
				e.t.Fatal(err)
			}
			e.there[place{v.Topic, who.ID}] = who.Info
		case broker.Leave:
			delete(e.there, place{v.Topic, string(v.Payload)})
		case broker.Told:
			e.told++
		default:
			e.t.Fatalf("got kind %d", v.Kind)
		}
	}
	return nil
}

// TestCountsModel: after Flush, a hub that has asked knows who has a subscription, however often that has changed, and
// whatever its link has refused. It is told when it knows everything.
func TestCountsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hub := &ear{t: rt, there: make(map[place]string)}
		called := false
		c := NewCounts(hub, func() { called = true }, func(topic string, owner any) string {
			return fmt.Sprint(topic, "/", owner.(string))
		})
		subscriptions := make(map[place]int)
		asked, asks := false, 0
		draw := func(rt *rapid.T) place {
			return place{fmt.Sprint("t", rapid.IntRange(1, 2).Draw(rt, "topic")), fmt.Sprint(rapid.IntRange(1, 3).Draw(rt, "id"))}
		}
		want := func() map[place]string {
			m := make(map[place]string)
			for p, n := range subscriptions {
				if n > 0 && asked {
					m[p] = p.topic + "/" + p.id
				}
			}
			return m
		}
		flush := func() {
			for hub.full = false; called; {
				called = false
				c.Flush()
			}
			c.Flush()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"subscribe": func(rt *rapid.T) {
				p := draw(rt)
				subscriptions[p]++
				c.Set(p.topic, p.id, p.id, true)
			},
			"unsubscribe": func(rt *rapid.T) {
				p := draw(rt)
				if subscriptions[p] > 0 {
					subscriptions[p]--
					c.Set(p.topic, p.id, p.id, false)
				}
			},
			"ask": func(*rapid.T) {
				asked = true
				asks++
				if hub.told == asks-1 { // a new hub, which knows nothing
					clear(hub.there)
				}
				c.TellAll()
			},
			"full": func(*rapid.T) { hub.full = true },
			"turn": func(*rapid.T) { c.Flush() },
			"flush": func(rt *rapid.T) {
				flush()
				if !maps.Equal(hub.there, want()) {
					rt.Fatalf("got %v, want %v", hub.there, want())
				}
				if asked && hub.told == 0 {
					rt.Fatal("not told that this is everything")
				}
			},
		})
		flush()
		if !maps.Equal(hub.there, want()) {
			rt.Fatalf("got %v, want %v", hub.there, want())
		}
		for p, n := range subscriptions {
			for range n {
				c.Set(p.topic, p.id, p.id, false)
			}
		}
		flush()
		if c.Len() != 0 || len(c.changed) != 0 || len(hub.there) != 0 {
			rt.Fatalf("something is left: %v, %v", c.members, hub.there)
		}
	})
}

// TestCountsTurns: a long list is told in several turns, and completely.
func TestCountsTurns(t *testing.T) {
	for _, n := range []int{countsTurn, countsTurn + 1, 3 * countsTurn} {
		hub := &ear{there: make(map[place]string)}
		turns := 0
		c := NewCounts(hub, func() { turns++ }, func(string, any) string { return "" })
		for i := range n {
			c.Set("t", fmt.Sprint(i), "", true)
		}
		c.TellAll()
		for done := 0; done < turns; done++ {
			c.Flush()
		}
		if len(hub.there) != n || hub.told != 1 {
			t.Errorf("got %d of %d members, told %d times", len(hub.there), n, hub.told)
		}
	}
}

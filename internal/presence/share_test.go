package presence

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/topic"
)

// node is a machine among others.
type node struct {
	*machine
	door *door
	log  strings.Builder
}

// join starts a machine with a store. The caller ends it.
func join(t testing.TB, d *door, state []byte) *node {
	n := &node{machine: new(machine), door: d}
	rules := new(topic.Rules[*Rule])
	p, err := topic.ParsePattern("t*")
	if err != nil {
		t.Fatal(err)
	}
	rules.Add(p, &Rule{MaxListed: 100})
	n.Server = NewServer(Config{Rules: rules, Hub: &n.office, Plane: d, Log: slog.New(slog.NewTextHandler(&n.log, nil))})
	if state != nil {
		if err := n.LoadState(state); err != nil {
			t.Fatal(err)
		}
	}
	d.set(func(d *door) {
		for _, m := range d.bridged {
			n.Announced(m.Topic, m.Payload)
		}
		d.bridged, d.hear = nil, n.Announced
	})
	n.Start()
	n.Attached(1)
	synctest.Wait()
	return n
}

// kill ends a machine as if its power had failed.
func (n *node) kill() {
	n.door.set(func(d *door) {
		d.down, d.hear = true, func(topic string, payload []byte) {
			d.bridged = append(d.bridged, backplane.Message{Topic: topic, Payload: payload})
		}
	})
	n.Close()
}

// who returns who is in a topic by the answer of a machine.
func (n *node) who(topic string) (ids []string, partial bool) {
	a, _ := n.Server.Ask(context.Background(), Query{Topic: topic})
	for _, m := range a.Members {
		ids = append(ids, m.ID)
	}
	if a.Count != len(ids) {
		ids = append(ids, fmt.Sprint("count ", a.Count))
	}
	return ids, a.Partial
}

func (n *node) wantWho(t *testing.T, topic string, ids ...string) {
	t.Helper()
	if got, _ := n.who(topic); !slices.Equal(got, ids) {
		t.Errorf("got %q, want %q", got, ids)
	}
}

// TestShare: a user on two machines is one member, with one join and one leave. All machines tell the same events in
// the same order.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, b := join(t, s.door(), nil), join(t, s.door(), nil)
		defer a.kill()
		defer b.kill()
		a.enter(1, "t", "a")
		synctest.Wait()
		b.enter(1, "t", "b")
		synctest.Wait()
		a.enter(1, "t", "x")
		b.enter(1, "t", "x")
		synctest.Wait()
		a.wantWho(t, "t", "a", "b", "x")
		a.leave(1, "t", "x")
		<-time.After(10 * time.Second)
		b.wantWho(t, "t", "a", "b", "x")
		b.leave(1, "t", "x")
		<-time.After(10 * time.Second)
		a.want(t, "t 1 a 1", "t 1 b 2", "t 1 x 3", "t 2 x 2")
		b.want(t, "t 1 b 2", "t 1 x 3", "t 2 x 2")
		b.wantWho(t, "t", "a", "b")
	})
}

// TestShareIsLogged: an outage of the store is told once, and its end, too.
func TestShareIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := join(t, newStore().door(), nil)
		a.enter(1, "t", "a")
		for range 2 {
			<-time.After(time.Minute)
			a.door.set(func(d *door) { d.down = true })
			<-time.After(time.Minute)
			a.door.set(func(d *door) { d.down = false })
		}
		<-time.After(time.Minute)
		a.kill()
		log := a.log.String()
		if strings.Count(log, "level=WARN") != 2 || strings.Count(log, "level=INFO") != 2 {
			t.Errorf("got %s", log)
		}
	})
}

// TestShareKilled: the members of a machine that dies leave within its lease. Those of one that stops leave when their
// grace has passed.
func TestShareKilled(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore()
			a, b := join(t, s.door(), nil), join(t, s.door(), nil)
			defer a.kill()
			a.enter(1, "t", "a", "x")
			synctest.Wait()
			b.enter(1, "t", "x")
			b.enter(1, "t", "b")
			synctest.Wait()
			a.want(t, "t 1 a 1", "t 1 x 2", "t 1 b 3")
			<-time.After(time.Minute)
			began := time.Now()
			if stopped {
				b.Close()
			} else {
				b.kill()
			}
			for ids := []string(nil); !slices.Equal(ids, []string{"a", "x"}); ids, _ = a.who("t") {
				<-time.After(100 * time.Millisecond)
			}
			if took, most := time.Since(began), DefaultLease; took > most || stopped && took > 3*time.Second {
				t.Errorf("they left after %v", took)
			}
			a.want(t, "t 2 b 2")
		})
	}
}

// TestShareLostMemory: a store that has lost its memory knows everybody again within the interval in which a lease is
// extended, and nobody is told of anybody. Who has left meanwhile leaves afterwards, and who has come comes.
func TestShareLostMemory(t *testing.T) {
	for _, outage := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore()
			a, b := join(t, s.door(), nil), join(t, s.door(), nil)
			defer a.kill()
			defer b.kill()
			a.enter(1, "t", "a", "x", "y")
			synctest.Wait()
			b.enter(1, "t", "b", "x")
			synctest.Wait()
			a.want(t, "t 1 a 1", "t 1 x 2", "t 1 y 3", "t 1 b 4")
			b.want(t, "t 1 b 4")
			<-time.After(time.Minute)
			down := func(is bool) {
				for _, n := range []*node{a, b} {
					n.door.set(func(d *door) { d.down = is })
				}
			}
			if outage {
				down(true)
				<-time.After(20 * time.Second)
				if _, partial := a.who("t"); !partial {
					t.Error("the answer is not partial")
				}
			}
			s.lose()
			a.leave(1, "t", "y")
			a.leave(1, "t", "x")
			a.enter(1, "t", "z")
			down(false)
			<-time.After(DefaultLease / 3)
			a.want(t)
			b.wantWho(t, "t", "a", "b", "x", "y")
			<-time.After(10 * time.Second)
			b.wantWho(t, "t", "a", "b", "x", "z")
			synctest.Wait()
			for _, n := range []*node{a, b} {
				n.office.mu.Lock()
				slices.Sort(n.office.events)
				n.office.mu.Unlock()
			}
			if n := len(a.office.events); n != 2 || !slices.Equal(a.office.events, b.office.events) {
				t.Errorf("got %q and %q, want y to leave and z to join", a.office.events, b.office.events)
			}
		})
	}
}

// TestShareSucceeds: a program that replaces another one tells nobody of those who stay, and those who went meanwhile
// leave.
func TestShareSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, b := join(t, s.door(), nil), join(t, s.door(), nil)
		defer b.kill()
		b.enter(1, "t", "b")
		a.enter(1, "t", "a", "x")
		<-time.After(time.Minute)
		b.office.mu.Lock()
		b.office.events = nil
		b.office.mu.Unlock()
		a.Suspend()
		a.enter(1, "t", "lost on the way")
		state := a.AppendState(nil)
		a.Resume()
		a.kill()
		a.door.set(func(d *door) { d.down = false })
		c := join(t, a.door, state)
		defer c.kill()
		c.enter(1, "t", "a", "new")
		c.Received(1, broker.Told, "", nil)
		c.Settle()
		<-time.After(5 * time.Second)
		b.want(t, "t 1 new 4", "t 2 x 3")
		b.wantWho(t, "t", "a", "b", "new")
		if n := len(s.leases); n != 2 {
			t.Errorf("%d attendances live, want 2", n)
		}
	})
}

// TestShareMissed: announcements that a machine has not heard are a gap, also if they were the last ones.
func TestShareMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, b := join(t, s.door(), nil), join(t, s.door(), nil)
		defer a.kill()
		defer b.kill()
		a.enter(1, "t", "a")
		<-time.After(5 * time.Second)
		b.door.set(func(d *door) { d.deaf = true })
		b.enter(1, "t", "b")
		<-time.After(5 * time.Second) // nothing was heard before: there is no gap
		b.want(t)
		a.enter(1, "t", "c")
		synctest.Wait()
		b.door.set(func(d *door) { d.deaf = false })
		a.enter(1, "t", "d")
		b.want(t, "t lost 1", "t 1 d 4")
		b.door.set(func(d *door) { d.deaf = true })
		a.enter(1, "t", "e")
		synctest.Wait()
		b.enter(1, "t", "f")
		b.want(t)
		<-time.After(5 * time.Second)
		b.want(t, "t lost 2")
		if n := b.Stats().Missed; n != 3 {
			t.Errorf("got %d missed", n)
		}
	})
}

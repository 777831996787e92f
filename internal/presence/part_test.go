package presence

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The topics of the tests are each in a part of its own.
const (
	topicAway = "ta" // its part is away
	topicUp   = "tb"
)

// divided starts two machines with a store in two parts.
func divided(t *testing.T, test func(s *store, a, b *node, awayAt int)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(2)
		a, b := join(t, s.door(), nil), join(t, s.door(), nil)
		defer func() {
			for _, n := range []*node{a, b} {
				select {
				case <-n.done: // killed
				default:
					n.kill()
				}
			}
		}()
		for _, topic := range []string{topicAway, topicUp} {
			a.enter(1, topic, "a")
			synctest.Wait()
			b.enter(1, topic, "b")
			synctest.Wait()
		}
		<-time.After(time.Minute)
		a.want(t, "ta 1 a 1", "ta 1 b 2", "tb 1 a 1", "tb 1 b 2")
		b.want(t, "ta 1 b 2", "tb 1 b 2")
		test(s, a, b, 1+s.Part(topicAway))
	})
}

// away makes a part unreachable for machines; 0 makes all reachable.
func away(part int, nodes ...*node) {
	for _, n := range nodes {
		n.door.set(func(d *door) { d.away = part })
	}
}

// TestPartAway: while a part of the store is away, members of topics in the other part come and go as ever, and nobody
// begins an attendance there. Those of the part that is away are told afterwards, and of nobody else, although all
// leases have run out.
func TestPartAway(t *testing.T) {
	divided(t, func(_ *store, a, b *node, awayAt int) {
		before := a.Stats().Attendances
		away(awayAt, a, b)
		<-time.After(time.Minute)
		if a.Stats().Err == nil {
			t.Error("it is not told that a part is away")
		}
		for _, topic := range []string{topicAway, topicUp} {
			a.enter(1, topic, "c")
			b.leave(1, topic, "b")
		}
		<-time.After(time.Minute)
		a.want(t, "tb 1 c 3", "tb 2 b 2")
		b.want(t, "tb 1 c 3") // then nobody is left there who could be told
		a.wantWho(t, topicUp, "a", "c")
		b.wantWho(t, topicUp, "a", "c")
		if ids, partial := a.who(topicAway); !partial || !slices.Equal(ids, []string{"a", "c"}) {
			t.Errorf("got %q, partial %t; want those of this machine", ids, partial)
		}
		away(0, a, b)
		<-time.After(20 * time.Second)
		for _, n := range []*node{a, b} {
			synctest.Wait()
			n.office.mu.Lock()
			slices.Sort(n.office.events)
			n.office.mu.Unlock()
			n.wantWho(t, topicAway, "a", "c")
		}
		if got := a.office.events; len(got) != 2 || !strings.HasPrefix(got[0], "ta 1 c") || !strings.HasPrefix(got[1], "ta 2 b") {
			t.Errorf("got %q, want c to join and b to leave", got)
		}
		if st := a.Stats(); st.Err != nil || st.Attendances != before+1 {
			t.Errorf("got %d attendances after %d, %v", st.Attendances, before, st.Err)
		}
		if log := a.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "of 2\"") != 2 {
			t.Errorf("got %s", log)
		}
	})
}

// TestPartBackLater: a machine that comes back some seconds after another one, when all leases have run out, has not
// left.
func TestPartBackLater(t *testing.T) {
	divided(t, func(_ *store, a, b *node, awayAt int) {
		away(awayAt, a, b)
		<-time.After(time.Minute)
		away(0, a)
		<-time.After(DefaultLease / 4)
		away(0, b)
		<-time.After(20 * time.Second)
		a.want(t)
		b.want(t)
		a.wantWho(t, topicAway, "a", "b")
	})
}

// TestPartLost: a part that has lost its memory gets everybody again, and the other part is not concerned.
func TestPartLost(t *testing.T) {
	divided(t, func(s *store, a, b *node, awayAt int) {
		before := a.Stats().Attendances
		s.losePart(awayAt - 1)
		<-time.After(20 * time.Second)
		for _, n := range []*node{a, b} {
			n.want(t)
			n.wantWho(t, topicAway, "a", "b")
			n.wantWho(t, topicUp, "a", "b")
		}
		if st := a.Stats(); st.Attendances != before+1 || st.Restored != 1 {
			t.Errorf("got %+v, want one more attendance than %d", st, before)
		}
	})
}

// TestPartInterrupted: topics of which announcements may be missed end the attendance of their part only.
func TestPartInterrupted(t *testing.T) {
	divided(t, func(_ *store, a, b *node, _ int) {
		before := a.Stats().Attendances
		a.Interrupted([]string{topicUp, topicUp})
		<-time.After(20 * time.Second)
		if got := a.Stats().Attendances; got != before+1 {
			t.Errorf("got %d attendances, want one more than %d", got, before)
		}
		a.Interrupted([]string{topicUp, topicAway})
		<-time.After(20 * time.Second)
		if got := a.Stats().Attendances; got != before+3 {
			t.Errorf("got %d attendances, want three more than %d", got, before)
		}
		b.want(t)
	})
}

// TestPartKilled: the members of a machine that dies while a part is away leave the topics of the other part within the
// lease, and those of the part that was away when others have had time to come back, too.
func TestPartKilled(t *testing.T) {
	divided(t, func(_ *store, a, b *node, awayAt int) {
		away(awayAt, a, b)
		<-time.After(10 * time.Second)
		b.kill()
		<-time.After(DefaultLease)
		a.want(t, "tb 2 b 1")
		a.wantWho(t, topicUp, "a")
		<-time.After(time.Minute)
		away(0, a)
		<-time.After(10 * time.Second)
		a.want(t, "ta 2 b 1")
		a.wantWho(t, topicAway, "a")
	})
}

// TestPartSucceeds: a program that replaces another one ends the attendances of all parts, also of one that was away.
func TestPartSucceeds(t *testing.T) {
	divided(t, func(s *store, a, b *node, awayAt int) {
		away(awayAt, b)
		<-time.After(3 * time.Second)
		b.Suspend()
		state := b.AppendState(nil)
		b.Resume()
		b.kill()
		b.door.set(func(d *door) { d.down = false })
		c := join(t, b.door, state)
		defer c.kill()
		c.enter(1, topicAway, "b")
		c.enter(1, topicUp, "b")
		c.Settle()
		<-time.After(3 * time.Second)
		away(0, c)
		<-time.After(10 * time.Second)
		a.want(t)
		s.mu.Lock()
		n := len(s.leases)
		s.mu.Unlock()
		if n != 4 {
			t.Errorf("%d attendances live, want one of each machine in each part", n)
		}
		a.wantWho(t, topicAway, "a", "b")
		a.wantWho(t, topicUp, "a", "b")
	})
}

// TestPartLostWithMachine: members of a machine that has died when the store lost its memory are missed: nobody was told
// that they left.
func TestPartLostWithMachine(t *testing.T) {
	divided(t, func(s *store, a, b *node, awayAt int) {
		b.enter(1, topicAway, "a") // stays, as it is on both
		a.enter(1, topicAway, "leaves")
		<-time.After(10 * time.Second)
		a.want(t, "ta 1 leaves 3")
		b.kill()
		s.losePart(awayAt - 1)
		a.leave(1, topicAway, "leaves")
		a.enter(1, topicAway, "comes")
		<-time.After(20 * time.Second)
		a.wantWho(t, topicAway, "a", "comes")
		synctest.Wait()
		a.office.mu.Lock()
		slices.Sort(a.office.events)
		a.office.mu.Unlock()
		if want := []string{"ta 1 comes", "ta 2 leaves", "ta lost 1", "tb 2 b 1"}; !slices.EqualFunc(a.office.events, want, strings.HasPrefix) {
			t.Errorf("got %q, want %q", a.office.events, want)
		}
	})
}

// TestPartLostWithEvent: a join that was not heard before the store lost its memory is missed.
func TestPartLostWithEvent(t *testing.T) {
	divided(t, func(s *store, a, b *node, awayAt int) {
		a.door.set(func(d *door) { d.deaf = true })
		b.enter(1, topicAway, "comes")
		b.want(t, "ta 1 comes 3")
		s.losePart(awayAt - 1)
		a.door.set(func(d *door) { d.deaf = false })
		<-time.After(20 * time.Second)
		a.want(t, "ta lost 1")
		b.want(t)
		a.wantWho(t, topicAway, "a", "b", "comes")
	})
}

package backplanetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// attendance is one of a machine in a test: at each part of a Backplane that is Divided.
type attendance struct {
	*bench
	plane backplane.Presence
	parts backplane.Divided
	ids   []uint64 // by part
}

const longLease = time.Hour

// attend begins an attendance of a machine, or skips the test.
func (s *bench) attend(m *machine, lease time.Duration) *attendance {
	s.Helper()
	p, ok := m.Backplane.(backplane.Presence)
	if !ok {
		s.Skip("it is no backplane.Presence")
	}
	a := &attendance{bench: s, plane: p, parts: m.parts()}
	for part := range a.parts.Parts() {
		s.call("Attend", func(ctx context.Context) error {
			id, err := p.Attend(ctx, part, lease)
			if err == nil {
				a.ids = append(a.ids, id)
			}
			return err
		})
	}
	return a
}

// at returns the part of a topic, and the attendance there.
func (a *attendance) at(topic string) (part int, id uint64) {
	part = a.parts.Part(topic)
	return part, a.ids[part]
}

// extend extends the attendance for a topic.
func (a *attendance) extend(ctx context.Context, topic string) error {
	part, id := a.at(topic)
	return a.plane.Extend(ctx, part, id, longLease)
}

// retireBy lets the machine of another attendance end this one.
func (a *attendance) retireBy(b *attendance) {
	a.Helper()
	for _, topic := range a.oneOfEach(a.parts) {
		_, id := a.at(topic)
		part, _ := b.at(topic)
		a.call("Retire", func(ctx context.Context) error { return b.plane.Retire(ctx, part, id) })
	}
}

// announced is Change.Prefix of the tests.
const announced = "announced:"

// change changes a topic with up to 3 announced members.
func (a *attendance) change(topic string, c backplane.Change) (standing backplane.Standing) {
	a.Helper()
	c.Prefix = []byte(announced)
	if c.Max == 0 {
		c.Max = 3
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.patience)
	defer cancel()
	_, id := a.at(topic)
	standing, err := a.plane.Change(ctx, id, topic, c)
	if err != nil {
		a.Fatalf("Change: %v", err)
	}
	return standing
}

func (a *attendance) add(topic string, ids ...string) backplane.Standing {
	a.Helper()
	return a.change(topic, backplane.Change{Add: membersOf(ids...)})
}

func (a *attendance) remove(topic string, ids ...string) backplane.Standing {
	a.Helper()
	return a.change(topic, backplane.Change{Remove: ids})
}

func membersOf(ids ...string) (list []backplane.Member) {
	for _, id := range ids {
		list = append(list, backplane.Member{ID: id, Info: infoOf(id)})
	}
	return list
}

func infoOf(id string) string { return "info of " + short(id) }

// wantMembers checks who is in a topic.
func (a *attendance) wantMembers(topic string, ids ...string) {
	a.Helper()
	var got backplane.Members
	a.call("Members", func(ctx context.Context) (err error) {
		got, err = a.plane.Members(ctx, topic, 1000)
		return err
	})
	var list []string
	for _, m := range got.List {
		if m.Info != infoOf(m.ID) {
			a.Errorf("%q has info %q", short(m.ID), short(m.Info))
		}
		list = append(list, m.ID)
	}
	slices.Sort(list)
	if got.Count != len(ids) || !slices.Equal(list, ids) {
		a.Errorf("%q: got %d members, %q, want %q", short(topic), got.Count, list, ids)
	}
}

// heard waits for announcements on both machines, which must be the same, and checks them.
func (s *bench) heard(topic string, want ...string) {
	s.Helper()
	var epoch uint64
	for _, m := range []*machine{s.a, s.b} {
		var got []string
		for i, payload := range s.received(m, topic, len(want)) {
			text, ok := strings.CutPrefix(payload, announced)
			one, err := backplane.ParseAnnouncement([]byte(text))
			if !ok || err != nil || epoch != 0 && one.Epoch != epoch || one.Announced != uint64(i+1) {
				s.Fatalf("announcement %d: got %q, %+v, %v", i, short(payload), one, err)
			}
			epoch = one.Epoch
			if one.Joined && one.Info != infoOf(one.ID) || !one.Joined && one.Info != "" {
				s.Errorf("%q has info %q", short(one.ID), short(one.Info))
			}
			sign := "-"
			if one.Joined {
				sign = "+"
			}
			got = append(got, fmt.Sprint(sign, one.ID, " ", one.Count))
		}
		if !slices.Equal(got, want) {
			s.Errorf("%q: got %q, want %q", short(topic), got, want)
		}
	}
}

// testPresence: a member that is on several machines is one. It is announced when it comes to the first one and when it
// leaves the last one, in one order for all. What is done twice changes nothing.
func testPresence(s *bench) {
	a, b := s.attend(s.a, longLease), s.attend(s.b, longLease)
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	first := a.add("t", "x")
	b.add("t", "x", "y")
	b.add("t", "x", "y")
	a.remove("t", "x", "nobody")
	a.remove("t", "x")
	b.wantMembers("t", "x", "y")
	b.remove("t", "x")
	a.wantMembers("t", "y")
	last := b.remove("t", "y")
	a.wantMembers("t")
	a.wantMembers("never")
	s.heard("t", "+x 1", "+y 2", "-x 1", "-y 0")
	if first.Count != 1 || first.Announced != 1 || last.Count != 0 || last.Announced != 4 || first.Epoch != last.Epoch {
		s.Errorf("got standing %+v and then %+v", first, last)
	}
}

// testPresenceNames: topics and members may have any bytes, and do not mix.
func testPresenceNames(s *bench) {
	a := s.attend(s.a, longLease)
	topics := []string{"t", "{t}", "t}", "{}t", "a}b{c}", "\x00\xff ", strings.Repeat("x", backplane.MaxTopic)}
	ids := []string{" ", "\x00", "1 2", strings.Repeat("i", backplane.MaxMember), "{x}"}
	slices.Sort(ids)
	for i, topic := range topics {
		s.subscribe(s.a, topic)
		s.subscribe(s.b, topic)
		a.add(topic, ids[i%len(ids)])
	}
	for i, topic := range topics {
		a.wantMembers(topic, ids[i%len(ids)])
		s.heard(topic, fmt.Sprint("+", ids[i%len(ids)], " 1"))
	}
}

// testPresenceMax: beyond Max, only the change that passes it is announced; below, everything is again. More members
// than were wanted are not listed.
func testPresenceMax(s *bench) {
	a := s.attend(s.a, longLease)
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		a.add("t", id)
	}
	s.call("Members", func(ctx context.Context) error {
		m, err := a.plane.Members(ctx, "t", 4)
		if err == nil && (m.Count != 5 || len(m.List) != 0) {
			s.Errorf("got %+v, want only the number", m)
		}
		return err
	})
	a.remove("t", "a", "b")
	a.remove("t", "c")
	a.change("t", backplane.Change{Remove: []string{"d"}, Max: -1})
	s.heard("t", "+a 1", "+b 2", "+c 3", "+d 4", "-b 3", "-c 2")
}

// testPresenceRetire: the members of an attendance that ends leave, however many there are, unless they are there under
// another one. The attendance lives no longer.
func testPresenceRetire(s *bench) {
	a, b := s.attend(s.a, longLease), s.attend(s.b, longLease)
	s.subscribe(s.a, "small")
	s.subscribe(s.b, "small")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("%04d", i))
	}
	for chunk := range slices.Chunk(many, backplane.MaxChange) {
		a.add("large", chunk...)
	}
	for i := range 100 {
		a.add(fmt.Sprint("topic ", i), "x")
	}
	a.add("small", "x", "y")
	b.add("small", "y")
	b.add("large", "0007")
	a.retireBy(b)
	b.wantMembers("small", "y")
	b.wantMembers("large", "0007")
	for i := range 100 {
		b.wantMembers(fmt.Sprint("topic ", i))
	}
	s.heard("small", "+x 1", "+y 2", "-x 1")
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	s.want("Extend", a.extend(ctx, "small"), backplane.ErrLapsed)
	s.call("Extend", func(ctx context.Context) error { return b.extend(ctx, "small") })
	a.retireBy(b) // again
}

// testPresenceReap: an attendance that is not extended is retired by any machine; others are not.
func testPresenceReap(s *bench) {
	a, b := s.attend(s.a, time.Millisecond), s.attend(s.b, longLease)
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	a.add("t", "x", "y")
	b.add("t", "y")
	for reaped, deadline := 0, time.Now().Add(s.patience); reaped == 0; {
		s.call("Reap", func(ctx context.Context) (err error) {
			reaped, err = b.plane.Reap(ctx, b.parts.Part("t"))
			return err
		})
		if time.Now().After(deadline) {
			s.Fatalf("no attendance lapses")
		}
	}
	s.call("Reap again", func(ctx context.Context) error {
		_, err := a.plane.Reap(ctx, a.parts.Part("t"))
		return err
	})
	a.wantMembers("t", "y")
	s.heard("t", "+x 1", "+y 2", "-x 1")
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	s.want("Extend", a.extend(ctx, "t"), backplane.ErrLapsed)
}

// testPresenceRestore: a machine that knows another epoch, or more announcements than there were, adds members again
// without an announcement, also those that are about to leave. One that knows the state announces who is missing.
func testPresenceRestore(s *bench) {
	a := s.attend(s.a, longLease)
	for _, one := range []string{"lost", "back", "kept"} {
		s.subscribe(s.a, one)
		s.subscribe(s.b, one)
	}
	lost := backplane.Change{
		Restore: membersOf("x"), Keep: membersOf("y"), Add: membersOf("z"), Knows: backplane.Standing{Epoch: 1, Announced: 7},
	}
	now := a.change("lost", lost)
	a.wantMembers("lost", "x", "y")
	if now.Epoch == 1 || now.Count != 2 || now.Announced != 0 {
		s.Errorf("got %+v", now)
	}
	lost.Remove, lost.Knows = []string{"y"}, now
	a.change("lost", lost)
	a.wantMembers("lost", "x", "z")
	s.heard("lost", "+z 3", "-y 2")
	before := a.add("back", "u")
	a.remove("back", "u")
	before.Announced += 5 // a server that was promoted has lost the latest
	next := a.change("back", backplane.Change{Restore: membersOf("x"), Keep: membersOf("y"), Knows: before})
	if next.Epoch == before.Epoch || next.Announced != 0 {
		s.Errorf("got %+v after %+v", next, before)
	}
	a.wantMembers("back", "x", "y")
	before = a.add("kept", "x")
	before = a.remove("kept", "x")
	a.change("kept", backplane.Change{Restore: membersOf("x"), Keep: membersOf("y"), Knows: before})
	a.wantMembers("kept", "x")
	s.heard("kept", "+x 1", "-x 0", "+x 1")
}

// testPresenceLimits: what is too large is refused, and so is everything after Close.
func testPresenceLimits(s *bench) {
	a := s.attend(s.a, longLease)
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	longest := backplane.Member{ID: strings.Repeat("i", backplane.MaxMember), Info: strings.Repeat("x", backplane.MaxInfo)}
	for what, c := range map[string]backplane.Change{
		"no ID":            {Add: []backplane.Member{{}}},
		"a longer ID":      {Restore: []backplane.Member{{ID: longest.ID + "i"}}},
		"a longer info":    {Keep: []backplane.Member{{ID: "i", Info: longest.Info + "x"}}},
		"too many at once": {Remove: make([]string, backplane.MaxChange+1)},
	} {
		_, err := a.plane.Change(ctx, a.ids[0], "t", c)
		s.want(what, err, backplane.ErrTooLarge)
	}
	_, err := a.plane.Change(ctx, a.ids[0], strings.Repeat("t", backplane.MaxTopic+1), backplane.Change{})
	s.want("a longer topic", err, backplane.ErrTooLarge)
	part, id := a.at("t")
	if _, err := a.plane.Change(ctx, id, "t", backplane.Change{Add: []backplane.Member{longest}}); err != nil {
		s.Errorf("the longest member: %v", err)
	}
	s.close(s.a)
	_, err = a.plane.Attend(ctx, part, longLease)
	_, errReap := a.plane.Reap(ctx, part)
	_, errMembers := a.plane.Members(ctx, "t", 1)
	_, errChange := a.plane.Change(ctx, id, "t", backplane.Change{Remove: []string{"x"}})
	for _, err := range []error{
		err, errReap, errMembers, errChange, a.extend(ctx, "t"), a.plane.Retire(ctx, part, id),
	} {
		if !errors.Is(err, backplane.ErrClosed) {
			s.Errorf("after Close: got %v, want %v", err, backplane.ErrClosed)
		}
	}
}

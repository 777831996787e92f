package backplanetest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// testPages: a history can be read in pages of any size, from any offset.
func testPages(s *bench) {
	const count = 300
	want := numbers(count)
	s.append(s.a, "t", 1, 1, want...)
	for _, what := range []backplane.Range{{Messages: 7}, {Bytes: 40}, {Messages: 50, Bytes: 30}} {
		var got []string
		for len(got) < count {
			what.After = uint64(len(got))
			p := s.read(s.b, "t", what)
			list := s.entries(p, what.After+1)
			size := len(strings.Join(list, ""))
			if len(list) == 0 || what.Messages > 0 && len(list) > what.Messages || what.Bytes > 0 && size > what.Bytes {
				s.Fatalf("%+v: got %d messages with %d bytes", what, len(list), size)
			}
			got = append(got, list...)
		}
		if !slices.Equal(got, want) {
			s.Errorf("%+v: got other messages", what)
		}
	}
	if p := s.read(s.b, "t", backplane.Range{After: 100, Bytes: 1}); len(p.Entries) != 1 || p.Head != count {
		s.Errorf("a page of one byte: got %d messages, head %d", len(p.Entries), p.Head)
	}
	for _, after := range []uint64{count, count + 1, backplane.MaxNumber} {
		if p := s.read(s.b, "t", backplane.Range{After: after}); len(p.Entries) != 0 || p.Head != count {
			s.Errorf("after %d: got %d messages, head %d", after, len(p.Entries), p.Head)
		}
	}
}

// testNewest: the newest messages can be read without knowing their offsets.
func testNewest(s *bench) {
	want := numbers(20)
	s.append(s.a, "t", 1, 1, want...)
	for newest, first := range map[int]int{1: 20, 5: 16, 20: 1, 1000: 1} {
		got := s.entries(s.read(s.b, "t", backplane.Range{Newest: newest}), uint64(first))
		if !slices.Equal(got, want[first-1:]) {
			s.Errorf("the newest %d: got %q", newest, got)
		}
	}
	got := s.entries(s.read(s.b, "t", backplane.Range{Newest: 10, Messages: 3}), 11)
	if !slices.Equal(got, want[10:13]) {
		s.Errorf("a page of the newest: got %q", got)
	}
}

// testNothing: a topic without messages has an epoch, which its first message has as well.
func testNothing(s *bench) {
	p := s.read(s.a, "t", backplane.Range{})
	again := s.read(s.b, "t", backplane.Range{Newest: 1, After: 7})
	if p.Epoch == 0 || p.Epoch != again.Epoch || p.Head != 0 || p.Begin != 0 || len(p.Entries)+len(again.Entries) > 0 {
		s.Errorf("got %+v and %+v", p, again)
	}
	if at := s.append(s.a, "t", 1, 1, "x"); at[0] != (backplane.Position{Epoch: p.Epoch, Offset: 1}) {
		s.Errorf("got position %v, want the epoch %d", at[0], p.Epoch)
	}
	if other := s.read(s.a, "other", backplane.Range{}); other.Epoch == p.Epoch {
		s.Errorf("two topics have the same epoch")
	}
}

// testTrimmed: only the newest messages are kept, and the offsets go on.
func testTrimmed(s *bench) {
	few := keep()
	few.Messages = 10
	const count = 2000
	want := numbers(count)
	s.offsets(s.appendLike(s.a, "t", backplane.Append{Key: backplane.Key{Publisher: 1, Number: 1}, Keep: few}, want...), 1)
	for _, after := range []uint64{0, 1, count - 100, count - 10} {
		p := s.read(s.b, "t", backplane.Range{After: after, Keep: few})
		if got := s.entries(p, count-9); !slices.Equal(got, want[count-10:]) || p.Head != count {
			s.Errorf("after %d: got %q", after, got)
		}
	}
	if p := s.read(s.b, "t", backplane.Range{}); len(p.Entries) > count/2 {
		s.Errorf("%d messages are stored for ever", len(p.Entries))
	}
}

// testExpired: old messages are not in a page, and positions stay known.
func testExpired(s *bench) {
	short := keep()
	short.For = 100 * time.Millisecond
	at := s.appendLike(s.a, "t", backplane.Append{Key: backplane.Key{Publisher: 1, Number: 1}, Keep: short}, "1", "2")
	for deadline := time.Now().Add(s.patience); ; {
		p := s.read(s.b, "t", backplane.Range{Keep: short})
		if p.Head != 2 || p.Epoch != at[0].Epoch {
			s.Fatalf("got epoch %d, head %d", p.Epoch, p.Head)
		}
		if len(p.Entries) == 0 {
			break
		}
		if time.Now().After(deadline) {
			s.Fatalf("messages do not expire")
		}
		<-time.After(10 * time.Millisecond)
	}
	s.appendLike(s.a, "t", backplane.Append{Key: backplane.Key{Publisher: 1, Number: 2}, Keep: short}, "2", "3")
	if p := s.read(s.b, "t", backplane.Range{}); p.Head != 3 {
		s.Errorf("after a repetition and one more message, the head is %d", p.Head)
	}
}

// testRenew: of several who want a new epoch, one gets it, and offsets and messages stay.
func testRenew(s *bench) {
	s.subscribe(s.b, "t")
	old := s.append(s.a, "t", 1, 1, "1", "2")[0].Epoch
	var all sync.WaitGroup
	a := newAnswers[backplane.Page]()
	for i := range 8 {
		m := []*machine{s.a, s.b}[i%2]
		all.Go(func() { // ends with the call
			if err := s.history(m).Renew("t", old, a.done); err != nil {
				s.Errorf("Renew: %v", err)
			}
		})
	}
	all.Wait()
	list := a.want(s, 8)
	next := list[0].Epoch
	if next == old || next == 0 {
		s.Fatalf("got epoch %d again", next)
	}
	for _, p := range list {
		if p.Epoch != next || p.Begin != 2 || p.Head != 2 {
			s.Errorf("got %+v, want epoch %d from 2 on", p, next)
		}
	}
	if at := s.append(s.a, "t", 1, 3, "3")[0]; at != (backplane.Position{Epoch: next, Offset: 3}) {
		s.Errorf("the next message: got position %v", at)
	}
	p := s.read(s.b, "t", backplane.Range{})
	if got := s.entries(p, 1); !slices.Equal(got, []string{"1", "2", "3"}) || p.Epoch != next || p.Begin != 2 {
		s.Errorf("got %q, epoch %d from %d", got, p.Epoch, p.Begin)
	}
	if again := s.append(s.b, "t", 1, 3, "3")[0]; again.Offset != 3 {
		s.Errorf("the message again: got position %v", again)
	}
	s.received(s.b, "t", 3)
}

package history

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/topic"
)

// clock is a wall clock that the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// rules keeps three messages of a* for a minute, and five of b* for an hour.
func rules(t interface{ Fatal(...any) }) (r topic.Rules[Rule]) {
	for _, one := range []struct {
		text string
		Rule
	}{{"a*", Rule{3, time.Minute}}, {"b*", Rule{5, time.Hour}}} {
		p, err := topic.ParsePattern(one.text)
		if err != nil {
			t.Fatal(err)
		}
		r.Add(p, one.Rule)
	}
	return r
}

func newStore(t interface{ Fatal(...any) }, limit int64) (*Store, *clock) {
	c := &clock{time.Unix(1e9, 0)}
	return New(Config{Rules: rules(t), MaxBytes: limit, Now: c.now}), c
}

func (s *Store) say(t *testing.T, name, text string) broker.Place {
	t.Helper()
	at, ok := s.Append([]byte(name), broker.Kept{Opcode: 1, Payload: []byte(text)})
	if !ok || at.Epoch == 0 {
		t.Fatalf("got %+v, %v", at, ok)
	}
	return at
}

func (s *Store) ask(name string, after broker.Place) broker.Page {
	p, _ := s.Read(broker.Query{Topic: name, After: after, Bytes: broker.MaxPage})
	return p
}

func text(p broker.Page) string {
	var list []string
	for _, m := range p.Messages {
		list = append(list, string(m.Payload))
	}
	return strings.Join(list, " ")
}

// TestRead: a reader gets what came after its place, or learns that it cannot.
func TestRead(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	at := s.say(t, "a", "1")
	for _, m := range []string{"2", "3", "4", "5"} {
		s.say(t, "a", m)
	}
	e := at.Epoch
	for _, c := range []struct {
		rule  string
		name  string
		after broker.Place
		want  string
		lost  bool
	}{
		{"the newest is known", "a", broker.Place{Epoch: e, Offset: 5}, "", false},
		{"some are new", "a", broker.Place{Epoch: e, Offset: 3}, "4 5", false},
		{"all that is kept is new", "a", broker.Place{Epoch: e, Offset: 2}, "3 4 5", false},
		{"one is no longer kept", "a", broker.Place{Epoch: e, Offset: 1}, "", true},
		{"the beginning is no longer kept", "a", broker.Place{Epoch: e}, "", true},
		{"another epoch", "a", broker.Place{Epoch: e + 1, Offset: 5}, "", true},
		{"an offset in the future", "a", broker.Place{Epoch: e, Offset: 6}, "", true},
		{"a topic that is not known", "a2", broker.Place{Epoch: e, Offset: 5}, "", true},
	} {
		p := s.ask(c.name, c.after)
		if text(p) != c.want || p.Lost != c.lost || p.More {
			t.Errorf("%s: got %q, lost %v, more %v, want %q, %v", c.rule, text(p), p.Lost, p.More, c.want, c.lost)
		}
		if c.name == "a" && p.End() != (broker.Place{Epoch: e, Offset: 5}) {
			t.Errorf("%s: got the end %+v", c.rule, p.End())
		}
	}
	if got := s.Stats(); got.Lost != 5 || got.Pages != 8 || got.Messages != 3 || got.Topics != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestNewest: without a place, a reader gets as many of the newest as it wants.
func TestNewest(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	for i := range 7 {
		s.say(t, "b", fmt.Sprint(i))
	}
	for last, want := range map[uint32]string{0: "", 1: "6", 3: "4 5 6", 5: "2 3 4 5 6", 1<<32 - 1: "2 3 4 5 6"} {
		p, ok := s.Read(broker.Query{Topic: "b", Last: last, Bytes: broker.MaxPage})
		if text(p) != want || p.Lost || p.More || !ok || p.End().Offset != 7 {
			t.Errorf("the last %d: got %q up to %d, want %q", last, text(p), p.End().Offset, want)
		}
	}
	p, _ := s.Read(broker.Query{Topic: "b2", Last: 5})
	if len(p.Messages) > 0 || p.Lost || p.After.Epoch == 0 || p.After.Offset != 0 {
		t.Errorf("an empty history: got %+v", p)
	}
	s.say(t, "b2", "first")
	if got := text(s.ask("b2", p.After)); got != "first" {
		t.Errorf("after an empty history: got %q, want the first", got)
	}
}

// TestPages: a page has as much as fits, and one publication at least.
func TestPages(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	for _, n := range []int{10, 10, 100, 10, broker.MaxPage} {
		s.say(t, "b", strings.Repeat("x", n))
	}
	read := func(bytes uint32) (sizes []int) {
		q := broker.Query{Topic: "b", Last: 9, Bytes: bytes}
		for more := true; more; {
			p, _ := s.Read(q)
			sizes = append(sizes, len(p.Messages))
			more, q.After = p.More, p.End()
		}
		return sizes
	}
	for bytes, want := range map[uint32][]int{0: {1, 1, 1, 1, 1}, 46: {2, 1, 1, 1}, 1 << 30: {4, 1}} {
		if got := read(bytes); !reflect.DeepEqual(got, want) {
			t.Errorf("pages of %d bytes: got %d, want %d", bytes, got, want)
		}
	}
}

// TestExpiry: publications expire, a topic without any keeps its epoch for a day.
func TestExpiry(t *testing.T) {
	s, c := newStore(t, 1<<20)
	first := s.say(t, "a", "1")
	c.at = c.at.Add(30 * time.Second)
	at := s.say(t, "a", "2")
	c.at = c.at.Add(30 * time.Second)
	if p := s.ask("a", first); text(p) != "2" {
		t.Errorf("got %q, lost %v, want 2", text(p), p.Lost)
	}
	c.at = c.at.Add(-time.Hour) // somebody sets the clock back
	s.say(t, "a", "3")
	c.at = c.at.Add(time.Hour + time.Minute)
	if got := s.Stats(); got.Messages != 0 || got.Topics != 1 || got.Bytes != overheadTopic+1 {
		t.Errorf("got %+v, want an empty topic", got)
	}
	if p := s.ask("a", broker.Place{Epoch: at.Epoch, Offset: 3}); p.Lost || len(p.Messages) > 0 {
		t.Errorf("nothing was missed: got %+v", p)
	}
	if p := s.ask("a", at); !p.Lost {
		t.Errorf("what was missed has expired: got %+v", p)
	}
	c.at = c.at.Add(forget)
	if p := s.ask("a", broker.Place{Epoch: at.Epoch, Offset: 3}); !p.Lost || p.After.Epoch == at.Epoch {
		t.Errorf("after a day: got %+v, want a new epoch", p)
	}
}

// TestMaxBytes: what expires first goes first when all together is too much, and is counted.
func TestMaxBytes(t *testing.T) {
	const size = 2*(overheadTopic+1) + 3*(overheadMessage+100)
	s, _ := newStore(t, size)
	long := strings.Repeat("x", 100)
	b := s.say(t, "b", long)
	a := s.say(t, "a", long)
	s.say(t, "a", long)
	s.say(t, "b", long)
	if got := s.Stats(); got.Evicted != 1 || got.Messages != 3 || got.Bytes != size {
		t.Errorf("got %+v, want one evicted", got)
	}
	a.Offset, b.Offset = 0, 0
	if got := s.ask("b", b); len(got.Messages) != 2 {
		t.Errorf("what is kept for an hour: got %+v, want both", got)
	}
	if got := s.ask("a", a); !got.Lost {
		t.Errorf("what is kept for a minute: got %+v, want lost", got)
	}
	s.say(t, "b", strings.Repeat("x", 2*size)) // larger than everything
	if got := s.Stats(); got.Bytes > size {
		t.Errorf("got %+v, want at most %d bytes", got, size)
	}
}

// model is a Store without limits on bytes, as simple as possible.
type model struct {
	epoch map[string]uint64
	all   map[string][]broker.Kept
	times map[string][]time.Time
}

// TestAskedTopicsGoFirst: however many topics clients ask for, that takes nothing from those on which something is said.
func TestAskedTopicsGoFirst(t *testing.T) {
	s, _ := newStore(t, 10_000)
	at := s.say(t, "a", "1")
	quiet := s.ask("a-quiet", broker.Place{})
	s.say(t, "a-quiet", "2")
	for i := range 1000 {
		s.ask(fmt.Sprint("b", i), broker.Place{})
	}
	if got := text(s.ask("a", broker.Place{Epoch: at.Epoch})); got != "1" {
		t.Errorf("what was published is gone: %q", got)
	}
	if got := text(s.ask("a-quiet", quiet.After)); got != "2" {
		t.Errorf("the place of a topic without a publication is gone: %q", got)
	}
	st := s.Stats()
	if st.Evicted != 0 || st.Forgotten == 0 || st.Bytes > st.MaxBytes || st.Topics != len(s.due) || s.asked.Len() != st.Topics-2 {
		t.Errorf("got %+v, %d topics without a publication", st, s.asked.Len())
	}
}

// TestModel: a Store gives the same answers as a list of everything, also after it was written and read.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c := newStore(t, 1<<30)
		m := model{make(map[string]uint64), make(map[string][]broker.Kept), make(map[string][]time.Time)}
		names := rapid.SampledFrom([]string{"a", "a1", "b", "b1"})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := names.Draw(t, "topic")
			rule, _ := s.Rules.Find(name)
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				k := broker.Kept{Opcode: 2, Except: rapid.Uint64().Draw(t, "except"), Payload: []byte(fmt.Sprint(len(m.all[name])))}
				at, _ := s.Append([]byte(name), k)
				m.all[name], m.times[name] = append(m.all[name], k), append(m.times[name], c.at)
				if e, known := m.epoch[name]; known && e != at.Epoch || at.Offset != uint64(len(m.all[name])) {
					t.Fatalf("got %+v, want epoch %d, offset %d", at, e, len(m.all[name]))
				}
				m.epoch[name] = at.Epoch
			case 1:
				c.at = c.at.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "seconds")) * time.Second)
			case 2:
				next, _ := newStore(t, 1<<30)
				next.Now = c.now
				var b bytes.Buffer
				if err := errors.Join(s.WriteState(&b), next.ReadState(&b)); err != nil || b.Len() > 0 {
					t.Fatalf("got %v, %d bytes left", err, b.Len())
				}
				if got, want := next.Stats(), s.Stats(); got != want {
					t.Fatalf("got %+v, want %+v", got, want)
				}
				s = next
			default:
				list, from := m.all[name], rapid.IntRange(0, len(m.all[name])).Draw(t, "from")
				kept := 0
				for i := range list {
					if m.times[name][i].Add(rule.For).After(c.at) {
						kept++
					}
				}
				kept = min(kept, rule.Messages)
				if m.epoch[name] == 0 {
					continue
				}
				p := s.ask(name, broker.Place{Epoch: m.epoch[name], Offset: uint64(from)})
				if lost := from < len(list)-kept; p.Lost != lost {
					t.Fatalf("%s after %d of %d, %d kept: got lost %v", name, from, len(list), kept, p.Lost)
				}
				if want := list[from:]; !p.Lost && len(want)+len(p.Messages) > 0 && !reflect.DeepEqual(p.Messages, want) {
					t.Fatalf("got %+v, want %+v", p.Messages, want)
				}
			}
		}
	})
}

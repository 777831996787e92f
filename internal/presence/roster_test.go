package presence

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/topic"
)

func rulesOf(t testing.TB, patterns ...string) *topic.Rules[*Rule] {
	t.Helper()
	rules := new(topic.Rules[*Rule])
	for _, text := range patterns {
		p, err := topic.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		rules.Add(p, &Rule{MaxListed: 3})
	}
	return rules
}

// holding is a subscription of a member in a worker.
type holding struct {
	port uint64
	place
}

// rosterModel is what a Roster must know.
type rosterModel struct {
	*Roster
	now     time.Duration
	holders map[holding]bool
	left    map[place]time.Duration // when the last holder has gone
	present map[place]bool          // by the changes
}

const modelGrace = 10

func newRosterModel(t *rapid.T, tt testing.TB, max int) *rosterModel {
	m := &rosterModel{
		holders: make(map[holding]bool), left: make(map[place]time.Duration), present: make(map[place]bool),
	}
	m.Roster = NewRoster(rulesOf(tt, "t*"), max, modelGrace, func(at *room, who *member) {
		p := place{at.topic, who.ID}
		if m.present[p] == who.present {
			t.Fatalf("%v: changed to %v again", p, who.present)
		}
		if m.present[p] = who.present; who.present && !m.held(p) {
			t.Fatalf("%v: has come without a subscription", p)
		}
		if !who.present {
			if m.held(p) || m.left[p]+modelGrace > m.now {
				t.Fatalf("%v: has gone too early", p)
			}
			delete(m.present, p)
			m.forget(who)
		}
	})
	return m
}

// held reports whether any worker has a subscription.
func (m *rosterModel) held(p place) bool {
	for h := range m.holders {
		if h.place == p {
			return true
		}
	}
	return false
}

func (m *rosterModel) release(h holding) {
	delete(m.holders, h)
	if !m.held(h.place) {
		m.left[h.place] = m.now
	}
}

// TestRosterModel: a member is present from its first subscription until it has had none for the grace.
func TestRosterModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newRosterModel(rt, t, 1000)
		draw := func(rt *rapid.T) holding {
			return holding{
				uint64(rapid.IntRange(1, 3).Draw(rt, "port")),
				place{fmt.Sprint("t", rapid.IntRange(1, 2).Draw(rt, "topic")), fmt.Sprint(rapid.IntRange(1, 4).Draw(rt, "id"))},
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enter": func(rt *rapid.T) {
				h := draw(rt)
				m.holders[h] = true
				if !m.Enter(h.port, h.topic, Member{ID: h.id}, false) {
					rt.Fatal("refused")
				}
			},
			"leave": func(rt *rapid.T) {
				h := draw(rt)
				if m.holders[h] {
					m.release(h)
				}
				m.Leave(h.port, h.topic, h.id, m.now)
			},
			"worker dies": func(rt *rapid.T) {
				port := draw(rt).port
				for h := range m.holders {
					if h.port == port {
						m.release(h)
					}
				}
				for _, name := range m.Topics() {
					m.Detach(port, name, m.now)
				}
			},
			"time passes": func(rt *rapid.T) {
				m.now += time.Duration(rapid.IntRange(1, 12).Draw(rt, "time"))
				next := m.Expire(m.now)
				if next != 0 && (next <= m.now || next > m.now+modelGrace) {
					rt.Fatalf("at %d: call again at %d", m.now, next)
				}
			},
			"": func(rt *rapid.T) { m.check(rt) },
		})
		m.now += 3 * modelGrace
		m.Expire(m.now)
		m.now += 3 * modelGrace
		m.Expire(m.now)
		for h := range m.holders {
			m.release(h)
			m.Leave(h.port, h.topic, h.id, m.now)
		}
		m.now += 3 * modelGrace
		m.Expire(m.now)
		if len(m.rooms)+m.members+m.Roster.present+len(m.leaving) > 0 {
			rt.Fatalf("something is left: %+v", m.Roster)
		}
	})
}

func (m *rosterModel) check(rt *rapid.T) {
	count := make(map[string]int)
	for p := range m.present {
		count[p.topic]++
		if !m.held(p) && m.left[p]+2*modelGrace <= m.now-12 {
			rt.Fatalf("%v: left at %d, and is present at %d", p, m.left[p], m.now)
		}
	}
	for h := range m.holders {
		if !m.present[h.place] {
			rt.Fatalf("%v: has a subscription and is not present", h.place)
		}
	}
	for _, name := range []string{"t1", "t2"} {
		n, list, truncated := m.List(name)
		if n != count[name] || truncated != (n > 3) || !truncated && len(list) != n {
			rt.Fatalf("%s: got %d members, %v, %v, want %d", name, n, list, truncated, count[name])
		}
		for _, who := range list {
			if !m.present[place{name, who.ID}] {
				rt.Fatalf("%s: %s is listed", name, who.ID)
			}
		}
	}
}

// TestRosterLimit: beyond the limit members are refused. When there is room again, it is reported once.
func TestRosterLimit(t *testing.T) {
	r := NewRoster(rulesOf(t, "t*"), 4, modelGrace, func(*room, *member) {})
	for i := range 6 {
		if got, want := r.Enter(1, "t", Member{ID: fmt.Sprint(i)}, false), i < 4; got != want {
			t.Errorf("member %d: got %v", i, got)
		}
	}
	if !r.Enter(2, "t", Member{ID: "1"}, false) || !r.Enter(1, "other", Member{ID: "1"}, false) {
		t.Error("a known member, or a topic without a rule: refused")
	}
	if r.refused != 2 || r.Room() {
		t.Errorf("got %d refused", r.refused)
	}
	r.forget(r.rooms["t"].members["0"])
	if !r.Room() || r.Room() {
		t.Error("room: want it reported once")
	}
}

package access

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
)

func mark(topic string, epoch, offset uint64) engine.Mark {
	return engine.Mark{Topic: topic, Place: engine.Place{Epoch: epoch, Offset: offset}}
}

// TestReceived: what a session has received is read as it was written; topics beyond the limit are left out.
func TestReceived(t *testing.T) {
	want := received{conn: 7, final: true, marks: []engine.Mark{mark("a", 1, 2), mark("b", 0, 9)}}
	got, err := parseReceived(want.append(nil))
	if err != nil || got.conn != want.conn || got.final != want.final || !slices.Equal(got.marks, want.marks) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := parseReceived(nil); err != nil || got.conn != 0 || got.marks != nil {
		t.Errorf("of nothing: got %+v, %v", got, err)
	}
	if _, err := parseReceived([]byte{tagReceivedBy, 9, 1}); err == nil {
		t.Error("a value that is cut off was read")
	}
	long := received{}
	for range 100 {
		long.marks = append(long.marks, mark(strings.Repeat("x", 250), 1, 0))
	}
	b := long.append(nil)
	if got, err := parseReceived(b); err != nil || len(b) > maxReceived || len(got.marks) < 50 {
		t.Errorf("%d bytes with %d topics, %v", len(b), len(got.marks), err)
	}
}

// TestContinue: a connection takes each mark once, at once or when it is known.
func TestContinue(t *testing.T) {
	c := new(Client)
	if c.Remembers("a") {
		t.Error("a client without a session to resume remembers")
	}
	r := new(resume)
	c.more().resume = r
	var got [3]engine.Mark
	var found, called [3]bool
	ask := func(i int, topic string) {
		c.Continue(topic, func(m engine.Mark, ok bool) { got[i], found[i], called[i] = m, ok, true })
	}
	for i, topic := range []string{"a", "none"} {
		if ask(i, topic); called[i] || !c.Remembers(topic) {
			t.Errorf("%s: known too early", topic)
		}
	}
	a, b := mark("a", 1, 2), mark("b", 3, 4)
	r.settle([]engine.Mark{a, b})
	if got[0] != a || found != [3]bool{true} || called != [3]bool{true, true} {
		t.Errorf("got %v, %v, %v, want %v and nothing", got, found, called, a)
	}
	if list := r.left(); !slices.Equal(list, []engine.Mark{b}) || !c.Remembers("b") || c.Remembers("a") {
		t.Errorf("left: %v, want %v", list, b)
	}
	if ask(2, "b"); got[2] != b || !found[2] {
		t.Errorf("got %v, %v, want %v at once", got[2], found[2], b)
	}
	if ask(2, "b"); found[2] || len(r.left()) != 0 {
		t.Error("a mark was taken twice")
	}
}

// TestBlind: if it is not known what a session has received, that holds for topics that are subscribed to later, and
// after a move.
func TestBlind(t *testing.T) {
	for _, known := range []bool{true, false} {
		c := new(Client)
		r := new(resume)
		c.more().resume = r
		if known {
			r.settleBlind()
		}
		after := new(Client)
		if _, err := new(Admission).Load(after, c.record(nil)); err != nil {
			t.Fatal(err)
		}
		list := []*Client{after}
		if known {
			list = append(list, c)
		}
		for _, c := range list {
			called, remembers := false, c.Remembers("later")
			if remembers {
				c.Continue("later", func(m engine.Mark, ok bool) { called = ok && m == engine.Mark{} })
			}
			if !called {
				t.Errorf("known %v: a topic is remembered: %v; want it with an unknown mark", known, remembers)
			}
		}
	}
}

// mute is a store that does not answer Load.
type mute struct{ session.Store }

func (mute) Load(context.Context, session.ID, ...string) (map[string][]byte, error) {
	return nil, session.ErrUnavailable
}

// hung is a store that takes nothing, and counts the calls.
type hung struct {
	session.Store
	calls atomic.Int64
}

func (h *hung) Save(context.Context, session.ID, session.Changes) error {
	h.calls.Add(1)
	return context.DeadlineExceeded
}

// TestSaveAllGivesUp: a store that does not answer is not asked for each connection.
func TestSaveAllGivesUp(t *testing.T) {
	store := new(hung)
	tracker := &Tracker{TrackerConfig: TrackerConfig{Store: store, Remember: true}}
	const many = 10_000
	tracker.saveAll(make([]toSave, many))
	if calls := store.calls.Load(); calls > 2*saversAtOnce || tracker.unsaved.Load() != many {
		t.Errorf("%d calls, %d not saved", calls, tracker.unsaved.Load())
	}
}

// TestResumedWithoutAnAnswer: if the store does not tell what a session has received, that is not known.
func TestResumedWithoutAnAnswer(t *testing.T) {
	tracker := &Tracker{TrackerConfig: TrackerConfig{Store: mute{}, Remember: true}}
	c := new(Client)
	tracker.resumed(t.Context(), c, &details{resumed: true})
	called := false
	if c.Remembers("a") {
		c.Continue("a", func(m engine.Mark, ok bool) { called = ok && m == engine.Mark{} })
	}
	if !called {
		t.Error("a client goes on as if it had missed nothing")
	}
}

// TestForget: topics that a connection has left do not wait.
func TestForget(t *testing.T) {
	c := new(Client)
	r := new(resume)
	c.more().resume = r
	c.Continue("a", func(engine.Mark, bool) { t.Error("a was left") })
	c.Forget("a")
	if len(r.waiting) != 0 {
		t.Errorf("got %d that wait, want none", len(r.waiting))
	}
	r.settle(nil)
}

// silentStore does not know what sessions have received.
type silentStore struct{ session.Store }

func (silentStore) Load(context.Context, session.ID, ...string) (map[string][]byte, error) {
	return nil, session.ErrUnavailable
}

// TestAwaitEnds: nothing waits for a connection that has ended, also if there are too many.
func TestAwaitEnds(t *testing.T) {
	tracker := &Tracker{done: make(chan struct{})}
	tracker.Store = silentStore{}
	for _, slots := range []int{0, 1} {
		tracker.waiters = make(chan struct{}, slots)
		c := new(Client)
		r := &resume{gone: make(chan struct{})}
		c.more().resume = r
		tracker.Leave(c, nil)
		tracker.Leave(c, nil)
		tracker.awaitReceived(r, session.NewID(""), session.Place{Conn: 1})
		if !c.Remembers("a") {
			t.Error("it was settled")
		}
	}
}

package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/engine"
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

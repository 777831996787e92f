package presence

import (
	"bytes"
	"strings"
	"testing"
)

// TestEventOf: joins and leaves are told up to the number of members that are listed, and where that is passed.
func TestEventOf(t *testing.T) {
	for _, c := range []struct {
		joined bool
		count  int
		kind   Kind
		told   bool
	}{
		{true, 1, Joined, true},
		{true, 3, Joined, true},
		{true, 4, Crowded, true},
		{true, 5, Joined, false},
		{false, 4, Left, false},
		{false, 3, Listed, true},
		{false, 2, Left, true},
		{false, 0, Left, true},
	} {
		e, told := EventOf(c.joined, c.count, 3, Member{ID: "a"})
		if told != c.told || told && e.Kind != c.kind || e.Count != c.count {
			t.Errorf("%v, %d: got %+v, %v", c.joined, c.count, e, told)
		}
	}
}

// TestIDs: the IDs of users, sessions and connections differ, and none is too long or tells a secret.
func TestIDs(t *testing.T) {
	long := strings.Repeat("u", 2*MaxID)
	ids := []string{
		UserID("a"), UserID("b"), UserID(long), UserID(long + "2"), SessionID([]byte("a")), SessionID([]byte("b")),
		ConnID("a"), ConnID("b"), UserID("session:" + hash("a")),
	}
	seen := make(map[string]bool)
	for _, id := range ids {
		if seen[id] || len(id) > MaxID || id == "session:a" {
			t.Errorf("got %q", id)
		}
		seen[id] = true
	}
	if User(UserID("a")) != "a" || User(SessionID([]byte("a"))) != "" || User(ConnID("a")) != "" {
		t.Error("User: got another one")
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(Event{Joined, 3, Member{"user:a", "info"}}.Append(nil))
	f.Add(Event{Listed, 0, Member{strings.Repeat("x", MaxID), strings.Repeat("y", MaxInfo)}}.Append(nil))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err == nil && !bytes.Equal(e.Append(nil), b) {
			t.Errorf("%x: got %+v", b, e)
		}
		if m, err := parseMember(b); err == nil && (len(m.ID) > MaxID || len(m.Info) > MaxInfo || m.ID == "") {
			t.Errorf("%x: got %+v", b, m)
		}
	})
}

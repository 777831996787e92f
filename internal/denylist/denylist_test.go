package denylist

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestList: what is on the list is denied until it expires, and nothing else is.
func TestList(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	var l List
	for _, d := range []Entry{
		{User, "alice", start.Add(time.Minute)},
		{Token, "t-1", start.Add(time.Hour)},
		{Session, "s-1", start.Add(time.Hour)},
		{User, "over", start.Add(-time.Second)},
		{Token, "t-1", start.Add(time.Second)}, // an earlier expiry does not shorten an entry
	} {
		if err := l.Add(d, start); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name                 string
		user, token, session string
		after                time.Duration
		want                 Kind
	}{
		{"the user", "alice", "", "", 0, User},
		{"the user, whatever the token", "alice", "t-9", "s-9", 59 * time.Second, User},
		{"the user's time is over", "alice", "", "", time.Minute, ""},
		{"the token", "bob", "t-1", "", 30 * time.Minute, Token},
		{"the session", "", "", "s-1", 0, Session},
		{"another user", "bob", "", "", 0, ""},
		{"a user called like a token", "t-1", "", "", 0, ""},
		{"nobody", "", "", "", 0, ""},
		{"an entry whose time was over", "over", "", "", 0, ""},
	} {
		got, denied := l.Denies(tt.user, tt.token, tt.session, start.Add(tt.after))
		if got != tt.want || denied != (tt.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, denied, tt.want)
		}
	}
	if got := len(l.All(start.Add(2 * time.Minute))); got != 2 {
		t.Errorf("after two minutes there are %d entries, want 2", got)
	}
	l.Sweep(start.Add(2 * time.Hour))
	if got := l.Len(); got != 0 {
		t.Errorf("after all times are over there are %d entries, want none", got)
	}
}

// TestListLimit: a full list refuses and counts, and accepts again when entries have expired.
func TestListLimit(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := List{Max: 2}
	add := func(user string, d time.Duration) error { return l.Add(Entry{User, user, now.Add(d)}, now) }
	if err := errors.Join(add("a", time.Second), add("b", time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := add("c", time.Hour); !errors.Is(err, ErrFull) || l.Refused() != 1 {
		t.Errorf("a third of two: got %v with %d refused, want %v and 1", err, l.Refused(), ErrFull)
	}
	if err := add("b", 2*time.Hour); err != nil {
		t.Errorf("one that is there already: got %v", err)
	}
	now = now.Add(time.Minute)
	if err := add("c", time.Hour); err != nil {
		t.Errorf("after an entry's time: got %v", err)
	}
	for name, d := range map[string]Entry{
		"no value": {User, "", now.Add(time.Hour)}, "a kind of its own": {"planet", "x", now.Add(time.Hour)},
		"too long": {User, strings.Repeat("x", maxValue+1), now.Add(time.Hour)},
	} {
		if err := l.Add(d, now); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: got %v, want %v", name, err, ErrEntry)
		}
	}
}

package auth_test

import (
	"testing"

	"github.com/expedite-go/expedite/auth"
)

func TestClaimPermit(t *testing.T) {
	permit := auth.ClaimPermit("sub", "pub")
	list := func(patterns ...any) map[string]any { return map[string]any{"sub": patterns} }
	for _, tt := range []struct {
		name, user string
		claims     map[string]any
		topic      string
		want       bool
	}{
		{"absent claim", "alice", nil, "lobby", true},
		{"other claims only", "alice", map[string]any{"pub": []any{"x"}}, "lobby", true},
		{"empty list", "alice", list(), "lobby", false},
		{"listed", "alice", list("news", "lobby"), "lobby", true},
		{"not listed", "alice", list("news"), "lobby", false},
		{"a part of a name", "alice", list("lobby"), "lobby2", false},
		{"other letters", "alice", list("Lobby"), "lobby", false},
		{"everything", "alice", list("*"), "anything", true},
		{"prefix", "alice", list("room.*"), "room.7", true},
		{"prefix alone", "alice", list("room.*"), "room.", true},
		{"not the prefix", "alice", list("room.*"), "room", false},
		{"the user's own", "alice", list("user.{user}.*"), "user.alice.inbox", true},
		{"another user's", "alice", list("user.{user}.*"), "user.bob.inbox", false},
		{"a user who is called like a pattern", "*", list("user.{user}"), "user.bob", false},
		{"a user who is called like a pattern, own", "*", list("user.{user}"), "user.*", true},
		{"a user who is called like the placeholder", "{user}", list("user.{user}"), "user.{user}", true},
		{"the user twice", "al", list("{user}-{user}"), "al-al", true},
		{"the user twice, once another", "al", list("{user}-{user}"), "al-bo", false},
		{"the user of nobody", "", list("user.{user}", "user.{user}*"), "user.", false},
		{"one pattern as text", "alice", map[string]any{"sub": "lobby"}, "lobby", true},
		{"a list of the program's own", "alice", map[string]any{"sub": []string{"lobby"}}, "lobby", true},
		{"star in the middle", "alice", list("lobby", "a*b"), "lobby", false},
		{"two stars", "alice", list("lobby", "**"), "lobby", false},
		{"empty pattern", "alice", list("lobby", ""), "lobby", false},
		{"not only text", "alice", list("lobby", 1.0), "lobby", false},
		{"null", "alice", map[string]any{"sub": nil}, "lobby", false},
		{"object", "alice", map[string]any{"sub": map[string]any{"lobby": true}}, "lobby", false},
		{"true", "alice", map[string]any{"sub": true}, "lobby", false},
	} {
		id := &auth.Identity{User: tt.user, Claims: tt.claims}
		if got := permit(id, auth.ActionSubscribe, tt.topic); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestClaimPermitActions: each action has its claim, and what cannot be known is not allowed.
func TestClaimPermitActions(t *testing.T) {
	id := &auth.Identity{User: "alice", Claims: map[string]any{"s": []any{"a"}, "p": []any{"b"}}}
	partial := &auth.Identity{User: "alice", Partial: true}
	for _, tt := range []struct {
		name             string
		permit           auth.Permit
		id               *auth.Identity
		action           auth.Action
		allowsA, allowsB bool
	}{
		{"subscribe", auth.ClaimPermit("s", "p"), id, auth.ActionSubscribe, true, false},
		{"publish", auth.ClaimPermit("s", "p"), id, auth.ActionPublish, false, true},
		{"an action that is not known", auth.ClaimPermit("s", "p"), id, 9, false, false},
		{"no claim for publishing", auth.ClaimPermit("s", ""), id, auth.ActionPublish, true, true},
		{"nobody", auth.ClaimPermit("s", "p"), nil, auth.ActionPublish, true, true},
		{"claims that were left out", auth.ClaimPermit("s", "p"), partial, auth.ActionPublish, false, false},
		{"claims that were left out and do not matter", auth.ClaimPermit("s", ""), partial, auth.ActionPublish, true, true},
	} {
		if a, b := tt.permit(tt.id, tt.action, "a"), tt.permit(tt.id, tt.action, "b"); a != tt.allowsA || b != tt.allowsB {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, a, b, tt.allowsA, tt.allowsB)
		}
	}
	if got := auth.ActionSubscribe.String() + auth.ActionPublish.String() + auth.Action(9).String(); got != "subscribepublishunknown" {
		t.Errorf("got %q", got)
	}
}

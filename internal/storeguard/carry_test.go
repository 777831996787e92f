package storeguard_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/session"
)

// second returns the Guard of another worker with the same stores, and closes it with the test.
func second(t *testing.T, main, spare *stub) *storeguard.Guard {
	t.Helper()
	g := storeguard.New(storeguard.Config{Main: main, Spare: spare, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// TestGuardCarry: if connections move during an outage, the main store has all their writes at its end, in order and
// once.
func TestGuardCarry(t *testing.T) {
	ctx := t.Context()
	g, main, spare := guarded(t, storeguard.Config{})
	old, other := attach(t, g, "alice", 1), attach(t, g, "carol", 3)
	if b := g.Carry(old.ID); b != nil {
		t.Errorf("nothing waits: got %q", b)
	}
	main.down()
	save := func(g *storeguard.Guard, id session.ID, key, value string, want error) {
		t.Helper()
		wantErr(t, key, g.Save(ctx, id, session.Changes{key: []byte(value)}), want)
	}
	save(g, old.ID, "n", "1", session.ErrDeferred)
	save(g, old.ID, "n", "2", session.ErrDeferred)
	save(g, other.ID, "n", "stays", session.ErrDeferred)
	fresh := attach(t, g, "bob", 2)
	save(g, fresh.ID, "k", "v", nil)
	next := second(t, main, spare)
	for _, s := range []session.Session{old, fresh} {
		b := g.Carry(s.ID)
		if s.ID == old.ID {
			save(g, old.ID, "late", "kept", session.ErrDeferred) // by who does not know yet that it moves
		}
		for i := range b {
			if err := next.Adopt(s.ID, s.Place, b[:i]); err == nil {
				t.Errorf("cut off after %d of %d bytes: got no error", i, len(b))
			}
		}
		if err := next.Adopt(s.ID, s.Place, b); err != nil {
			t.Fatal(err)
		}
		g.Released(s.ID)
	}
	save(next, old.ID, "n", "3", session.ErrDeferred)
	save(next, fresh.ID, "k", "w", nil) // the spare store has it
	if w := g.Stats().Waiting; w >= next.Stats().Waiting {
		t.Errorf("%d bytes wait with the old worker, %d with the new one", w, next.Stats().Waiting)
	}
	main.up()
	untilUp(t, g)
	untilUp(t, next)
	for id, want := range map[session.ID]map[string]string{
		old.ID: {"n": "3", "late": "kept"}, other.ID: {"n": "stays"}, fresh.ID: {"k": "w"},
	} {
		v, err := main.Load(ctx, id)
		if err != nil || len(v) != len(want) {
			t.Errorf("%s: got %q, %v, want %q", id.Short(), v, err, want)
		}
		for key := range want {
			if string(v[key]) != want[key] {
				t.Errorf("%s: got %q, want %q", id.Short(), v, want)
			}
		}
	}
	if s := g.Stats(); s.Replayed != 2 || s.Restored != 0 {
		t.Errorf("the old worker: got %+v, want the two writes that stayed", s)
	}
	if s := next.Stats(); s.Replayed != 3 || s.Restored != 1 {
		t.Errorf("the new one: got %+v, want three writes and a session", s)
	}
}

// TestGuardLeftBehind: any worker resumes a session that another one has left in the spare store when it died.
func TestGuardLeftBehind(t *testing.T) {
	ctx := t.Context()
	g, main, spare := guarded(t, storeguard.Config{})
	main.down()
	fresh := attach(t, g, "bob", 2)
	if err := g.Save(ctx, fresh.ID, session.Changes{"k": []byte("v")}); err != nil {
		t.Fatal(err)
	}
	_ = g.Close() // before the main store is back, like one that dies
	main.up()
	next := second(t, main, spare)
	resume := func(user string) session.Attached {
		at, err := next.Attach(ctx, session.Attach{ID: fresh.ID, User: user, Place: session.Place{Node: "n", Conn: 7}})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := resume("mallory"); at.Resumed {
		t.Errorf("another user: got %+v", at)
	}
	if at := resume("bob"); !at.Resumed || at.Session.ID != fresh.ID {
		t.Errorf("got %+v, want it resumed", at)
	}
	if list, err := main.List(context.Background(), "bob", session.Page{}); err != nil || len(list) > 1 {
		t.Errorf("got %v, %v, want no other session of the user", list, err)
	}
	untilUp(t, next)
	if v, err := main.Load(ctx, fresh.ID); err != nil || string(v["k"]) != "v" {
		t.Errorf("got %q, %v", v, err)
	}
}

// TestGuardSettle: Settle returns when the main store has all writes, or when its context ends.
func TestGuardSettle(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{})
	s := attach(t, g, "alice", 1)
	main.down()
	wantErr(t, "Save", g.Save(t.Context(), s.ID, session.Changes{"n": {1}}), session.ErrDeferred)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.Settle(ended)
	if g.Stats().Waiting == 0 {
		t.Error("nothing waits")
	}
	main.up()
	g.Settle(t.Context())
	if w := g.Stats().Waiting; w != 0 {
		t.Errorf("%d bytes wait", w)
	}
	untilUp(t, g)
	main.down()
	if err := g.Detach(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}}); err != nil {
		t.Fatal(err)
	}
	g.Settle(t.Context()) // the end of a connection is not worth a wait: this would last as long as the test
}

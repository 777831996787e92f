package memstore_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestStore: the store fulfills the contract.
func TestStore(t *testing.T) {
	const emptyTTL = 150 * time.Millisecond
	sessiontest.Run(t, func(*testing.T) sessiontest.Subject {
		c := fakeclock.New()
		return sessiontest.Subject{
			Store: memstore.New(memstore.Config{Now: c.Now, EmptyTTL: emptyTTL}), Advance: c.Advance, EmptyTTL: emptyTTL,
		}
	})
}

// find returns a session, or ends the test.
func find(t *testing.T, m *memstore.Store, id session.ID) session.Session {
	t.Helper()
	list, err := m.Find(t.Context(), id)
	if err != nil || len(list) != 1 {
		t.Fatalf("Find: got %v, %v, want one session", list, err)
	}
	return list[0]
}

// written returns the state of a store.
func written(m *memstore.Store) []byte {
	var b bytes.Buffer
	_ = m.WriteState(&b) // a Buffer takes all
	return b.Bytes()
}

// TestState: a store that reads the state of another one holds the same; a state that is cut off anywhere is an error.
func TestState(t *testing.T) {
	ctx, c := t.Context(), fakeclock.New()
	config := memstore.Config{Now: c.Now}
	m := memstore.New(config)
	var made []session.Session
	for i, user := range []string{"alice", "alice", "", "bob"} {
		a, err := m.Attach(ctx, session.Attach{
			User: user, Params: map[string]string{"n": user}, Place: session.Place{Node: "n", Conn: uint64(i + 1)},
		})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, a.Session)
		c.Advance(time.Second)
	}
	if err := m.Save(ctx, made[0].ID, session.Changes{"k": []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := m.PutTicket(ctx, [32]byte{1}, []byte("ticket"), time.Minute); err != nil {
		t.Fatal(err)
	}
	state := written(m)
	next := memstore.New(config)
	if err := next.ReadState(bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	for _, want := range made {
		got := find(t, next, want.ID)
		if got.Seen != want.Seen || got.Place != want.Place || got.Params["n"] != want.User {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if v, err := next.Load(ctx, made[0].ID); err != nil || string(v["k"]) != "v" {
		t.Errorf("values: got %q, %v", v, err)
	}
	if v, err := next.TakeTicket(ctx, [32]byte{1}); err != nil || string(v) != "ticket" {
		t.Errorf("ticket: got %q, %v", v, err)
	}
	if a, b := m.Stats(), next.Stats(); a.Sessions != b.Sessions || a.Connected != b.Connected || a.Users != b.Users {
		t.Errorf("stats: got %+v, want %+v", b, a)
	}
	for cut := range state {
		if err := memstore.New(config).ReadState(bytes.NewReader(state[:cut])); err == nil {
			t.Errorf("a state of %d of %d bytes is taken", cut, len(state))
		}
	}
	c.Advance(2 * time.Hour)
	late := memstore.New(config)
	if err := late.ReadState(bytes.NewReader(state)); err != nil || late.Stats().Sessions != 0 {
		t.Errorf("after their time: %d sessions, %v", late.Stats().Sessions, err)
	}
}

// TestLimits: a full store fails with ErrFull until something has expired.
func TestLimits(t *testing.T) {
	ctx, c := t.Context(), fakeclock.New()
	m := memstore.New(memstore.Config{MaxSessions: 2, MaxTickets: 1, Now: c.Now})
	attach := func(user string) error {
		_, err := m.Attach(ctx, session.Attach{User: user, Policy: session.Policy{TTL: time.Minute}})
		return err
	}
	for _, user := range []string{"a", "b"} {
		if err := attach(user); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "a third of two", attach("c"), session.ErrFull)
	if err := m.PutTicket(ctx, [32]byte{1}, nil, time.Second); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a second ticket", m.PutTicket(ctx, [32]byte{2}, nil, time.Second), session.ErrFull)
	if got := m.Stats().Full; got != 2 {
		t.Errorf("counted %d, want 2", got)
	}
	c.Advance(2 * time.Minute)
	if err := attach("c"); err != nil {
		t.Errorf("after their time: %v", err)
	}
	if n := m.Sweep(100); n == 0 || m.Stats().Sessions != 1 || m.Stats().Tickets != 0 {
		t.Errorf("swept %d, left %+v", n, m.Stats())
	}
}

// FuzzReadState: no input makes ReadState panic.
func FuzzReadState(f *testing.F) {
	m := memstore.New(memstore.Config{})
	if _, err := m.Attach(context.Background(), session.Attach{User: "alice", Params: map[string]string{"a": "b"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(written(m))
	f.Fuzz(func(_ *testing.T, state []byte) {
		next := memstore.New(memstore.Config{})
		if next.ReadState(bytes.NewReader(state)) == nil {
			written(next)
		}
	})
}

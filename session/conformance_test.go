package session_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// clock is one that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.UnixMilli(1_700_000_000_000)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestMemoryStore: the memory store keeps to the contract.
func TestMemoryStore(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Subject {
		c := newClock()
		return sessiontest.Subject{Store: session.NewMemory(session.MemoryConfig{Now: c.Now, EmptyTTL: sessiontest.EmptyTTL}), Advance: c.Advance}
	})
}

// TestRemoteStore: so does a store that is asked over a link.
func TestRemoteStore(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Subject {
		c := newClock()
		m := session.NewMemory(session.MemoryConfig{Now: c.Now, EmptyTTL: sessiontest.EmptyTTL})
		client := session.NewClient(func(ctx context.Context, request []byte) ([]byte, error) {
			return session.Serve(ctx, m, request), nil
		})
		return sessiontest.Subject{Store: client, Advance: c.Advance}
	})
}

// TestMemoryState: a store that goes on with the state of another one is the same, at any cut of the state it is none.
func TestMemoryState(t *testing.T) {
	ctx, c := t.Context(), newClock()
	config := session.MemoryConfig{Now: c.Now}
	m := session.NewMemory(config)
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
	state := m.AppendState(nil)
	next := session.NewMemory(config)
	if err := next.LoadState(state); err != nil {
		t.Fatal(err)
	}
	for _, want := range made {
		got, err := next.Find(ctx, want.ID)
		if err != nil || got.Seen != want.Seen || got.Place != want.Place || got.Params["n"] != want.User {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
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
		if err := session.NewMemory(config).LoadState(state[:cut]); err == nil {
			t.Errorf("a state of %d of %d bytes is taken", cut, len(state))
		}
	}
	c.Advance(2 * time.Hour)
	late := session.NewMemory(config)
	if err := late.LoadState(state); err != nil || late.Stats().Sessions != 0 {
		t.Errorf("after their time: %d sessions, %v", late.Stats().Sessions, err)
	}
}

// TestMemoryLimits: a full store says so, and takes again when something has expired.
func TestMemoryLimits(t *testing.T) {
	ctx, c := t.Context(), newClock()
	m := session.NewMemory(session.MemoryConfig{MaxSessions: 2, MaxTickets: 1, Now: c.Now})
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

// TestServeNonsense: what is no request is answered by an error, and does nothing.
func TestServeNonsense(t *testing.T) {
	m := session.NewMemory(session.MemoryConfig{})
	for _, request := range [][]byte{nil, {1}, {9, 1}, {1, 99}, {1, 1}, {1, 4, 255, 255, 255, 255, 15}} {
		answer := session.Serve(t.Context(), m, request)
		if len(answer) == 0 || answer[0] == 0 {
			t.Errorf("%v: got %q, want an error", request, answer)
		}
	}
	if n := m.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions were made", n)
	}
}

// FuzzServe: no request does harm.
func FuzzServe(f *testing.F) {
	f.Add([]byte{1, 1})
	for op := byte(1); op < 13; op++ {
		f.Add(append([]byte{1, op}, make([]byte, 80)...))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		m := session.NewMemory(session.MemoryConfig{})
		if len(session.Serve(t.Context(), m, request)) == 0 {
			t.Error("no answer")
		}
	})
}

// FuzzReadState: no state does harm.
func FuzzReadState(f *testing.F) {
	m := session.NewMemory(session.MemoryConfig{})
	if _, err := m.Attach(context.Background(), session.Attach{User: "alice", Params: map[string]string{"a": "b"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(m.AppendState(nil))
	f.Fuzz(func(_ *testing.T, state []byte) {
		next := session.NewMemory(session.MemoryConfig{})
		if next.LoadState(state) == nil {
			next.AppendState(nil)
		}
	})
}

// BenchmarkAttachRemote is what a session costs a worker and the primary together, but for the link.
func BenchmarkAttachRemote(b *testing.B) {
	m := session.NewMemory(session.MemoryConfig{MaxSessions: 1 << 30})
	client := session.NewClient(func(ctx context.Context, request []byte) ([]byte, error) {
		return session.Serve(ctx, m, request), nil
	})
	a := session.Attach{User: "alice", Place: session.Place{Node: "node"}, Policy: session.Policy{MaxPerUser: 10}}
	for b.Loop() {
		a.Place.Conn++
		if _, err := client.Attach(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}

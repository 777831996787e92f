package sessiontest

import (
	"sync"
	"time"

	"github.com/expedite-go/expedite/session"
)

// testConcurrentResume: if many connections resume a session at the same time, one of them has it in the end, and each
// of the others was replaced once.
func testConcurrentResume(b *bench) {
	const clients = 30
	s := b.open("alice")
	b.next = 1000
	var wg sync.WaitGroup
	var mu sync.Mutex
	replaced := make(map[uint64]int)
	for i := range clients {
		wg.Go(func() {
			a, err := b.settle(session.Attach{
				ID: s.ID, User: "alice", Place: session.Place{Node: "node", Conn: uint64(1000 + i)},
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !a.Resumed {
				b.t.Errorf("got %+v, %v", a, err)
			}
			replaced[a.Replaced.Conn]++
		})
	}
	wg.Wait()
	last := b.find(s.ID).Place.Conn
	for conn, n := range replaced {
		if n != 1 || conn == last {
			b.t.Errorf("connection %d was replaced %d times; the session is at %d", conn, n, last)
		}
	}
	if len(replaced) != clients || replaced[s.Place.Conn] != 1 {
		b.t.Errorf("%d connections were replaced, want %d, the first among them", len(replaced), clients)
	}
}

// testPending: a connection that does not open takes nothing from others; one that opens claims the session.
func testPending(b *bench) {
	s := b.open("alice")
	a := session.Attach{
		ID: s.ID, User: "alice", Place: b.place(), Params: map[string]string{"device": "tablet"},
	}
	done := b.reserve(a)
	if !done.Pending || !done.Resumed || done.Session.ID != s.ID {
		b.t.Fatalf("got %+v, want it resumed and pending", done)
	}
	if got := b.find(s.ID); got.Place != s.Place || len(got.Params) > 0 {
		b.t.Errorf("before the claim: got %+v, want %+v", got, s)
	}
	b.must(b.Discard(b.ctx, []session.Ref{{ID: s.ID, Conn: a.Place.Conn}})) // it does not open
	if got := b.find(s.ID); got.Place != s.Place {
		b.t.Errorf("after its end: got %+v, want %+v", got, s)
	}
	a.Place = b.place()
	b.reserve(a)
	stranger := a
	stranger.User = "bob"
	_, err := b.Claim(b.ctx, stranger)
	b.want("a claim of another user", err, session.ErrNotFound)
	for _, want := range []session.Place{s.Place, {}} { // the second claim changes nothing
		done, err := b.Claim(b.ctx, a)
		if err != nil || done.Replaced != want || done.Pending || done.Session.Place != a.Place {
			b.t.Errorf("got %+v, %v, want %+v replaced", done, err, want)
		}
	}
	if got := b.find(s.ID); got.Place != a.Place || got.Params["device"] != "tablet" {
		b.t.Errorf("after the claim: got %+v", got)
	}
	if again := b.reserve(session.Attach{ID: s.ID, User: "alice", Place: a.Place}); again.Pending {
		b.t.Errorf("the connection that has it: got %+v", again)
	}
	_, err = b.Drop(b.ctx, s.ID)
	b.must(err)
	_, err = b.Claim(b.ctx, a)
	b.want("a claim of what is gone", err, session.ErrNotFound)
}

// testPendingLimit: sessions are deleted to make room when the new one is claimed, and not before.
func testPendingLimit(b *bench) {
	p := session.Policy{MaxPerUser: 2}
	first := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	second := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	a := session.Attach{User: "alice", Place: b.place(), Policy: p}
	lost := b.reserve(a)
	if !lost.Pending || lost.Resumed {
		b.t.Fatalf("got %+v, want a new session that is pending", lost)
	}
	b.must(b.Save(b.ctx, first.ID, session.Changes{"k": []byte("v")}))
	b.must(b.Discard(b.ctx, []session.Ref{ref(lost.Session)})) // its connection does not open
	b.gone("the one that did not open", lost.Session.ID)
	if v, err := b.Load(b.ctx, first.ID); err != nil || string(v["k"]) != "v" {
		b.t.Errorf("the oldest: got %q, %v", v, err)
	}
	a.Place = b.place()
	a.ID = b.reserve(a).Session.ID
	done, err := b.Claim(b.ctx, a)
	if err != nil || len(done.Evicted) != 1 || done.Evicted[0].ID != first.ID || done.Evicted[0].Place != first.Place {
		b.t.Errorf("got %+v, %v, want %v evicted", done, err, first.ID)
	}
	b.find(second.ID)
	b.gone("the oldest", first.ID)
	p.Refuse = true
	a = session.Attach{User: "alice", Place: b.place(), Policy: p}
	_, err = b.Attach(b.ctx, a)
	b.want("with Refuse", err, session.ErrTooManySessions)
	b.detach(second)
	a.ID = b.reserve(a).Session.ID
	b.attach(second.ID, "alice", p) // it comes back before the claim, and so it stays
	if done, err := b.Claim(b.ctx, a); err != nil || len(done.Evicted) > 0 {
		b.t.Errorf("got %v evicted, %v, want none", ids(done.Evicted), err)
	}
}

// testClaimMany: if many sessions exceed the limit, repeated claims delete all of them.
func testClaimMany(b *bench) {
	const made = session.MaxBatch + 10
	for range made {
		b.open("alice")
	}
	a := session.Attach{User: "alice", Place: b.place(), Policy: session.Policy{MaxPerUser: 2}}
	a.ID = b.reserve(a).Session.ID
	done, err := b.Claim(b.ctx, a)
	if err != nil || len(done.Evicted) != session.MaxBatch || !done.Pending {
		b.t.Fatalf("got %d evicted, pending %v, %v", len(done.Evicted), done.Pending, err)
	}
	done, err = b.Claim(b.ctx, a)
	if list, _ := b.List(b.ctx, "alice", session.Page{}); err != nil || done.Pending || len(list) != 2 {
		b.t.Errorf("got %d left, pending %v, %v; want 2", len(list), done.Pending, err)
	}
}

// testDiscard: Discard deletes a session, unless it has values or another connection.
func testDiscard(b *bench) {
	for _, user := range []string{"", "alice"} {
		bare, full, moved := b.open(user), b.open(user), b.open(user)
		b.must(b.Save(b.ctx, full.ID, session.Changes{"k": {}}))
		next := b.attach(moved.ID, user, session.Policy{}).Session
		b.must(b.Discard(b.ctx, []session.Ref{ref(bare), ref(full), ref(moved), {ID: session.NewID(user), Conn: 1}}))
		b.gone("one without values", bare.ID)
		if got := b.find(full.ID).Place; !got.IsZero() {
			b.t.Errorf("user %q: one with a value is at %+v, want nowhere", user, got)
		}
		if got := b.find(moved.ID).Place; got != next.Place {
			b.t.Errorf("user %q: one that has another connection is at %+v, want %+v", user, got, next.Place)
		}
	}
	if list, err := b.List(b.ctx, "alice", session.Page{}); err != nil || len(list) != 2 {
		b.t.Errorf("got %v, %v, want two", ids(list), err)
	}
}

// testEmpty: an anonymous session without values expires soon after its connection has ended.
func testEmpty(b *bench) {
	if b.EmptyTTL == 0 {
		b.t.Skip("the store does not shorten the life of empty sessions")
	}
	bare, full, late, back, open := b.open(""), b.open(""), b.open(""), b.open(""), b.open("")
	emptied := b.open("")
	named := b.open("alice")
	b.must(b.Save(b.ctx, full.ID, session.Changes{"k": {}}))
	b.must(b.Save(b.ctx, emptied.ID, session.Changes{"k": {}}))
	b.must(b.Save(b.ctx, emptied.ID, session.Changes{"k": nil}))
	for _, s := range []session.Session{bare, full, late, back, emptied, named} {
		b.detach(s)
	}
	b.find(bare.ID)
	b.must(b.Save(b.ctx, late.ID, session.Changes{"k": {}}))
	if a := b.attach(back.ID, "", session.Policy{}); !a.Resumed {
		b.t.Error("not resumed in its time")
	}
	b.until("it is gone", 50*time.Millisecond, func() bool {
		return !b.exists(bare.ID) && !b.exists(emptied.ID)
	})
	b.pass(2 * b.EmptyTTL)
	for _, s := range []session.Session{full, late, back, open, named} {
		b.find(s.ID)
	}
}

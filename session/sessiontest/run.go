package sessiontest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Subject is a store under test.
type Subject struct {
	session.Store
	// Advance moves the clock of the store forward. If it is nil, the store uses the real clock, and the tests wait.
	Advance func(d time.Duration)
	// EmptyTTL is how long the store keeps an anonymous session without values after its connection has ended, if that
	// is shorter than the session's TTL. With Advance it may be a fraction of a second. With the real clock it should be
	// a few seconds, because the tests use such sessions before they expire. 0 skips the test of this.
	EmptyTTL time.Duration
}

// patience limits every wait. A test that reaches it has failed.
const patience = 60 * time.Second

// Run runs all tests, each with a store that open returns. The store must be empty, or have a namespace of its own.
// open closes it with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, tt := range []struct {
		name string
		test func(*bench)
	}{
		{"Resume", testResume},
		{"Replace", testReplace},
		{"Params", testParams},
		{"OddUsers", testOddUsers},
		{"Values", testValues},
		{"ValueLimits", testValueLimits},
		{"EvictDisconnectedFirst", testEvictDisconnectedFirst},
		{"EvictOldest", testEvictOldest},
		{"Refuse", testRefuse},
		{"ConcurrentAttach", testConcurrentAttach},
		{"ConcurrentResume", testConcurrentResume},
		{"Pending", testPending},
		{"PendingLimit", testPendingLimit},
		{"ClaimMany", testClaimMany},
		{"Discard", testDiscard},
		{"Empty", testEmpty},
		{"Find", testFind},
		{"ListAndDrop", testListAndDrop},
		{"ListPages", testListPages},
		{"Expiry", testExpiry},
		{"Sliding", testSliding},
		{"TouchAndRestore", testTouchAndRestore},
		{"RestoreLoses", testRestoreLoses},
		{"Tickets", testTickets},
		{"TicketRace", testTicketRace},
		{"TooLarge", testTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(&bench{t: t, Subject: open(t), ctx: t.Context()}) })
	}
}

// bench is the store and the context of one test.
type bench struct {
	Subject
	t    *testing.T
	ctx  context.Context
	next uint64 // the number of the latest connection
}

// place returns the place of a new connection.
func (b *bench) place() session.Place {
	b.next++
	return session.Place{Node: "node", Conn: b.next}
}

// attach attaches a new connection that opens, or ends the test.
func (b *bench) attach(id session.ID, user string, p session.Policy) session.Attached {
	b.t.Helper()
	a, err := b.settle(session.Attach{ID: id, User: user, Place: b.place(), Policy: p})
	if err != nil {
		b.t.Fatalf("Attach: %v", err)
	}
	return a
}

// reserve attaches a connection that is not open yet, or ends the test.
func (b *bench) reserve(a session.Attach) session.Attached {
	b.t.Helper()
	done, err := b.Attach(b.ctx, a)
	if err != nil {
		b.t.Fatalf("Attach: %v", err)
	}
	if !done.Replaced.IsZero() || len(done.Evicted) > 0 {
		b.t.Errorf("Attach takes something from others: %+v", done)
	}
	return done
}

// settle attaches a connection, and claims its session if necessary.
func (b *bench) settle(a session.Attach) (session.Attached, error) {
	done, err := b.Attach(b.ctx, a)
	a.ID = done.Session.ID
	for pending := done.Pending; err == nil && pending; {
		var more session.Attached
		if more, err = b.Claim(b.ctx, a); err != nil {
			break
		}
		if done.Replaced.IsZero() {
			done.Replaced = more.Replaced
		}
		done.Session, done.Evicted, pending = more.Session, append(done.Evicted, more.Evicted...), more.Pending
	}
	return done, err
}

// open attaches a new connection to a new session.
func (b *bench) open(user string) session.Session {
	b.t.Helper()
	return b.attach(session.ID{}, user, session.Policy{}).Session
}

// detach records that the connection of a session has ended.
func (b *bench) detach(s session.Session) {
	b.t.Helper()
	b.must(b.Detach(b.ctx, []session.Ref{ref(s)}))
}

func ref(s session.Session) session.Ref { return session.Ref{ID: s.ID, Conn: s.Place.Conn} }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// want checks an error.
func (b *bench) want(what string, err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// gone checks that a session does not exist.
func (b *bench) gone(what string, id session.ID) {
	b.t.Helper()
	if b.exists(id) {
		b.t.Errorf("%s: the session exists", what)
	}
}

// exists reports whether a session exists.
func (b *bench) exists(id session.ID) bool {
	b.t.Helper()
	list, err := b.Find(b.ctx, id)
	b.must(err)
	return len(list) > 0
}

// find returns a session, or ends the test.
func (b *bench) find(id session.ID) session.Session {
	b.t.Helper()
	list, err := b.Find(b.ctx, id)
	b.must(err)
	if len(list) != 1 || list[0].ID != id {
		b.t.Fatalf("Find: got %v, want session %v", list, id)
	}
	return list[0]
}

// tick lets the time of the store pass a little, so that what follows is later.
func (b *bench) tick() { b.pass(2 * time.Millisecond) }

// pass lets the time of the store pass.
func (b *bench) pass(d time.Duration) {
	if b.Advance != nil {
		b.Advance(d)
		return
	}
	<-time.After(d)
}

// until calls ok until it returns true, and lets the time of the store pass between calls.
func (b *bench) until(what string, step time.Duration, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("gave up waiting until %s", what)
		}
		b.pass(step)
	}
}

// ids returns the ids of sessions, sorted.
func ids(list []session.Session) []string {
	var names []string
	for _, s := range list {
		names = append(names, s.ID.String())
	}
	slices.Sort(names)
	return names
}

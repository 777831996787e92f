package sessiontest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expedite-go/expedite/session"
)

// testResume: a session is resumed only by its id together with its user.
func testResume(b *bench) {
	s := b.open("alice")
	anonymous := b.open("")
	for _, tt := range []struct {
		name   string
		id     session.ID
		user   string
		resume bool
	}{
		{"the user's", s.ID, "alice", true},
		{"another user's", s.ID, "bob", false},
		{"a user's, by nobody", s.ID, "", false},
		{"nobody's, by nobody", anonymous.ID, "", true},
		{"nobody's, by a user", anonymous.ID, "alice", false},
		{"one that never was", session.NewID("alice"), "alice", false},
		{"none", session.ID{}, "alice", false},
	} {
		a := b.attach(tt.id, tt.user, session.Policy{})
		if a.Resumed != tt.resume || (a.Session.ID == tt.id) != tt.resume {
			b.t.Errorf("%s: got session %v resumed %v, want %v", tt.name, a.Session.ID, a.Resumed, tt.resume)
		}
		if a.Session.User != tt.user || a.Session.ID.IsZero() {
			b.t.Errorf("%s: got %+v", tt.name, a.Session)
		}
	}
	got := b.find(s.ID)
	if got.User != "alice" || got.Place.Conn == 0 || got.Created.IsZero() || got.Seen.Before(got.Created) {
		b.t.Errorf("got %+v", got)
	}
}

// testReplace: a new connection takes over the session, and the end of the old one changes nothing.
func testReplace(b *bench) {
	first := b.attach(session.ID{}, "alice", session.Policy{})
	if !first.Replaced.IsZero() {
		b.t.Errorf("a new session replaces %+v", first.Replaced)
	}
	second := b.attach(first.Session.ID, "alice", session.Policy{})
	if second.Replaced != first.Session.Place {
		b.t.Errorf("got %+v replaced, want %+v", second.Replaced, first.Session.Place)
	}
	b.detach(first.Session)
	if got := b.find(first.Session.ID).Place; got != second.Session.Place {
		b.t.Errorf("after the late end of the first: at %+v, want %+v", got, second.Session.Place)
	}
	b.detach(second.Session)
	if got := b.find(first.Session.ID).Place; !got.IsZero() {
		b.t.Errorf("after the end of the second: at %+v, want nowhere", got)
	}
	b.detach(second.Session) // twice does no harm
	if third := b.attach(first.Session.ID, "alice", session.Policy{}); !third.Replaced.IsZero() || !third.Resumed {
		b.t.Errorf("after both: got %+v", third)
	}
}

// testParams: a session has the parameters of the latest connection that had some.
func testParams(b *bench) {
	params := map[string]string{"device": "phone", "ünï": "\x00{}"}
	a, err := b.Attach(b.ctx, session.Attach{User: "alice", Params: params, Place: b.place()})
	b.must(err)
	if got := b.find(a.Session.ID).Params; !maps.Equal(got, params) {
		b.t.Errorf("got %v, want %v", got, params)
	}
	b.attach(a.Session.ID, "alice", session.Policy{})
	if got := b.find(a.Session.ID).Params; !maps.Equal(got, params) {
		b.t.Errorf("resumed without any: got %v, want %v", got, params)
	}
	other := map[string]string{"device": "tablet"}
	_, err = b.settle(session.Attach{ID: a.Session.ID, User: "alice", Params: other, Place: b.place()})
	b.must(err)
	if got := b.find(a.Session.ID).Params; !maps.Equal(got, other) {
		b.t.Errorf("resumed with others: got %v, want %v", got, other)
	}
}

// testOddUsers: any string can be the name of a user.
func testOddUsers(b *bench) {
	long := strings.Repeat("x", session.MaxUserBytes)
	for _, user := range []string{"{}", "a}b{c", "ünïcödé", "nul\x00nul", "a:b:c", " ", "*", long} {
		s := b.open(user)
		list, err := b.List(b.ctx, user, session.Page{})
		if err != nil || len(list) != 1 || list[0].ID != s.ID || list[0].User != user {
			b.t.Errorf("user %.20q: got %v, %v", user, list, err)
		}
		if a := b.attach(s.ID, user, session.Policy{}); !a.Resumed {
			b.t.Errorf("user %.20q: not resumed", user)
		}
	}
}

// testEvictDisconnectedFirst: to make room, disconnected sessions are deleted first, those with the earliest Seen
// before the others.
func testEvictDisconnectedFirst(b *bench) {
	p := session.Policy{MaxPerUser: 3}
	oldest := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	early := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	late := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	b.detach(early)
	b.tick()
	b.detach(late)
	for _, want := range []session.Session{early, late, oldest} {
		b.tick()
		a := b.attach(session.ID{}, "alice", p)
		if len(a.Evicted) != 1 || a.Evicted[0].ID != want.ID {
			b.t.Errorf("got %v evicted, want %v", ids(a.Evicted), want.ID)
			continue
		}
		if connected := a.Evicted[0].Place.Conn != 0; connected != (want.ID == oldest.ID) {
			b.t.Errorf("evicted %+v: its connection is not told", a.Evicted[0])
		}
		b.gone("an evicted one", want.ID)
	}
}

// testEvictOldest: if all sessions are connected, the oldest is deleted. Other users keep theirs.
func testEvictOldest(b *bench) {
	p := session.Policy{MaxPerUser: 2}
	other := b.open("bob")
	first := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	second := b.attach(session.ID{}, "alice", p).Session
	b.tick()
	if a := b.attach(first.ID, "alice", p); len(a.Evicted) > 0 {
		b.t.Errorf("a resumed one evicts %v", ids(a.Evicted))
	}
	a := b.attach(session.ID{}, "alice", p)
	if len(a.Evicted) != 1 || a.Evicted[0].ID != first.ID {
		b.t.Errorf("got %v evicted, want %v", ids(a.Evicted), first.ID)
	}
	b.find(second.ID)
	b.find(other.ID)
	anonymous := session.Policy{MaxPerUser: 1}
	b.attach(session.ID{}, "", anonymous)
	if a := b.attach(session.ID{}, "", anonymous); len(a.Evicted) > 0 {
		b.t.Error("anonymous ones count as one user")
	}
}

// testRefuse: with Refuse, connected sessions are kept, unless they were not touched for Stale.
func testRefuse(b *bench) {
	p := session.Policy{MaxPerUser: 1, Refuse: true}
	s := b.attach(session.ID{}, "alice", p).Session
	_, err := b.Attach(b.ctx, session.Attach{User: "alice", Place: b.place(), Policy: p})
	b.want("a second of one", err, session.ErrTooManySessions)
	b.find(s.ID)
	b.detach(s)
	next := b.attach(session.ID{}, "alice", p)
	if len(next.Evicted) != 1 || next.Evicted[0].ID != s.ID {
		b.t.Errorf("got %v evicted, want %v", ids(next.Evicted), s.ID)
	}
	p.Stale = 50 * time.Millisecond
	b.until("the session counts as disconnected", 20*time.Millisecond, func() bool {
		a, err := b.settle(session.Attach{User: "alice", Place: b.place(), Policy: p})
		return err == nil && len(a.Evicted) == 1 && a.Evicted[0].ID == next.Session.ID
	})
}

// testConcurrentAttach: the limit of sessions holds for connections that come at the same time.
func testConcurrentAttach(b *bench) {
	const clients, most = 32, 5
	p := session.Policy{MaxPerUser: most}
	var wg sync.WaitGroup
	var mu sync.Mutex
	evicted := make(map[session.ID]bool)
	made := make(map[session.ID]bool)
	for i := range clients {
		wg.Go(func() {
			a, err := b.settle(session.Attach{
				User: "alice", Place: session.Place{Node: "node", Conn: uint64(1000 + i)}, Policy: p,
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !errors.Is(err, session.ErrNotFound) { // which was evicted meanwhile
				b.t.Errorf("Attach: %v", err)
				return
			}
			made[a.Session.ID] = true
			for _, s := range a.Evicted {
				if evicted[s.ID] {
					b.t.Errorf("%v is evicted twice", s.ID)
				}
				evicted[s.ID] = true
			}
		})
	}
	wg.Wait()
	list, err := b.List(b.ctx, "alice", session.Page{})
	b.must(err)
	if len(list) != most || len(made) != clients || len(evicted) != clients-most {
		b.t.Errorf("%d made, %d evicted, %d left; want %d, %d, %d",
			len(made), len(evicted), len(list), clients, clients-most, most)
	}
	for _, s := range list {
		if evicted[s.ID] || !made[s.ID] {
			b.t.Errorf("%v is left: made %v, evicted %v", s.ID, made[s.ID], evicted[s.ID])
		}
	}
}

// testFind: many sessions are found at once, in the order in which they are asked for, without those that do not exist.
func testFind(b *bench) {
	const sessions = session.MaxBatch + 10
	var asked, want []session.ID
	for i := range sessions {
		id := b.open([]string{"", "alice", "bob"}[i%3]).ID
		asked, want = append(asked, id), append(want, id)
		if i%10 == 0 {
			asked = append(asked, session.NewID("alice"))
		}
	}
	list, err := b.Find(b.ctx, asked...)
	b.must(err)
	var got []session.ID
	for _, s := range list {
		got = append(got, s.ID)
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("got %d sessions, want %d in the order in which they were asked for", len(got), len(want))
	}
	if list, err := b.Find(b.ctx); err != nil || len(list) > 0 {
		b.t.Errorf("without ids: got %v, %v", list, err)
	}
}

// testListAndDrop: the sessions of a user are listed, the newest first, and are gone after Drop.
func testListAndDrop(b *bench) {
	var made []session.Session
	for range 3 {
		made = append(made, b.open("alice"))
		b.tick()
	}
	b.open("bob")
	anonymous := b.open("")
	list, err := b.List(b.ctx, "alice", session.Page{})
	b.must(err)
	for i, s := range list {
		if want := made[len(made)-1-i]; len(list) != 3 || s.ID != want.ID {
			b.t.Fatalf("got %v, want the three of alice, the newest first", list)
		}
	}
	if list, err := b.List(b.ctx, "", session.Page{}); err != nil || len(list) != 0 {
		b.t.Errorf("nobody: got %v, %v", list, err)
	}
	dropped, err := b.Drop(b.ctx, made[0].ID, made[2].ID, session.NewID("alice"), anonymous.ID)
	b.must(err)
	if len(dropped) != 3 || dropped[0].Place.Conn == 0 {
		b.t.Errorf("got %+v dropped, want three with their connections", dropped)
	}
	for _, id := range []session.ID{made[0].ID, made[2].ID, anonymous.ID} {
		b.gone("a dropped one", id)
	}
	if a := b.attach(made[0].ID, "alice", session.Policy{}); a.Resumed {
		b.t.Error("a dropped one is resumed")
	}
	list, err = b.List(b.ctx, "alice", session.Page{})
	if err != nil || len(list) != 2 || errors.Is(err, session.ErrNotFound) {
		b.t.Errorf("got %v, %v, want two", list, err)
	}
}

// testListPages: the pages of a list contain each session once, in order, even if several were created at the same
// time.
func testListPages(b *bench) {
	made := make(map[session.ID]bool)
	for i := range 23 {
		made[b.open("alice").ID] = true
		if i%5 == 0 {
			b.tick()
		}
	}
	page := session.Page{Max: 5}
	var last session.Session
	for pages := range 6 {
		list, err := b.List(b.ctx, "alice", page)
		if want := min(5, len(made)); err != nil || len(list) != want {
			b.t.Fatalf("page %d: got %d sessions, %v, want %d", pages, len(list), err, want)
		}
		for _, s := range list {
			if !made[s.ID] || !last.ID.IsZero() && s.Created.After(last.Created) {
				b.t.Errorf("page %d: %v, of %v, is not the next one behind %v", pages, s.ID, s.Created, last.Created)
			}
			delete(made, s.ID)
			last = s
		}
		page = page.Next(last)
	}
	if len(made) > 0 {
		b.t.Errorf("%d sessions are on no page", len(made))
	}
}

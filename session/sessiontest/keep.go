package sessiontest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/session"
)

// testValues: values with any content are set, changed, deleted and kept.
func testValues(b *bench) {
	s := b.open("alice")
	load := func(want map[string][]byte) {
		b.t.Helper()
		got, err := b.Load(b.ctx, s.ID)
		b.must(err)
		if len(got) != len(want) {
			b.t.Errorf("got %q, want %q", got, want)
		}
		for k, v := range want {
			if g, ok := got[k]; !ok || !bytes.Equal(g, v) {
				b.t.Errorf("%q: got %q, %v, want %q", k, g, ok, v)
			}
		}
	}
	load(nil)
	b.must(b.Save(b.ctx, s.ID, session.Changes{"a": []byte("1"), "b": {}, "ü\x00{}": {0, 255, 0}}))
	load(map[string][]byte{"a": []byte("1"), "b": {}, "ü\x00{}": {0, 255, 0}})
	b.must(b.Save(b.ctx, s.ID, session.Changes{"a": []byte("2"), "b": nil, "c": []byte("3"), "never": nil}))
	load(map[string][]byte{"a": []byte("2"), "c": []byte("3"), "ü\x00{}": {0, 255, 0}})
	b.detach(s)
	b.attach(s.ID, "alice", session.Policy{})
	load(map[string][]byte{"a": []byte("2"), "c": []byte("3"), "ü\x00{}": {0, 255, 0}})
	b.must(b.Save(b.ctx, s.ID, nil))
	some, err := b.Load(b.ctx, s.ID, "c", "never")
	if err != nil || len(some) != 1 || string(some["c"]) != "3" {
		b.t.Errorf("Load of one value: got %q, %v", some, err)
	}
	_, err = b.Load(b.ctx, session.NewID("alice"), "c")
	b.want("Load of one value of none", err, session.ErrNotFound)
	_, err = b.Load(b.ctx, session.NewID("alice"))
	b.want("Load of none", err, session.ErrNotFound)
	b.want("Save to none", b.Save(b.ctx, session.NewID("alice"), session.Changes{"a": {1}}), session.ErrNotFound)
}

// testValueLimits: a Save that exceeds a limit changes nothing.
func testValueLimits(b *bench) {
	s := b.open("alice")
	b.must(b.Save(b.ctx, s.ID, session.Changes{"a": []byte("1")}))
	many := make(session.Changes)
	for i := range session.MaxValues {
		many[fmt.Sprint("key", i)] = []byte("v")
	}
	b.want("a value too many", b.Save(b.ctx, s.ID, many), session.ErrTooLarge)
	large := session.Changes{"b": bytes.Repeat([]byte("x"), session.MaxValueBytes)}
	b.want("a byte too many", b.Save(b.ctx, s.ID, large), session.ErrTooLarge)
	got, err := b.Load(b.ctx, s.ID)
	if err != nil || len(got) != 1 || string(got["a"]) != "1" {
		b.t.Errorf("after both: got %d values, %v", len(got), err)
	}
	many["a"] = nil // in place of the one that is there
	b.must(b.Save(b.ctx, s.ID, many))
	if got, err := b.Load(b.ctx, s.ID); err != nil || len(got) != session.MaxValues {
		b.t.Errorf("as many as may be: got %d, %v", len(got), err)
	}
}

// testTooLarge: a request that is too large fails and leaves nothing behind.
func testTooLarge(b *bench) {
	for name, a := range map[string]session.Attach{
		"user":       {User: strings.Repeat("x", session.MaxUserBytes+1)},
		"parameters": {User: "alice", Params: map[string]string{"a": strings.Repeat("x", session.MaxParamBytes)}},
		"node":       {User: "alice", Place: session.Place{Node: strings.Repeat("x", session.MaxNodeBytes+1), Conn: 1}},
	} {
		_, err := b.Attach(b.ctx, a)
		b.want(name, err, session.ErrTooLarge)
	}
	if list, err := b.List(b.ctx, "alice", session.Page{}); err != nil || len(list) != 0 {
		b.t.Errorf("got %v, %v, want none", list, err)
	}
	err := b.PutTicket(b.ctx, [32]byte{1}, make([]byte, session.MaxTicketBytes+1), time.Minute)
	b.want("ticket", err, session.ErrTooLarge)
}

// testExpiry: a session that is not touched expires, with its values and its entry in the list.
func testExpiry(b *bench) {
	p := session.Policy{TTL: 2 * time.Second} // in which the values are saved, on any machine
	s := b.attach(session.ID{}, "alice", p).Session
	long := b.open("alice")
	if s.TTL != p.TTL {
		b.t.Errorf("got a TTL of %v, want %v", s.TTL, p.TTL)
	}
	b.must(b.Save(b.ctx, s.ID, session.Changes{"a": {1}}))
	b.until("it has expired", 50*time.Millisecond, func() bool { return !b.exists(s.ID) })
	_, err := b.Load(b.ctx, s.ID)
	b.want("Load", err, session.ErrNotFound)
	b.want("Save", b.Save(b.ctx, s.ID, session.Changes{"a": {1}}), session.ErrNotFound)
	if list, err := b.List(b.ctx, "alice", session.Page{}); err != nil || len(list) != 1 || list[0].ID != long.ID {
		b.t.Errorf("List: got %v, %v, want %v", list, err, long.ID)
	}
	if a := b.attach(s.ID, "alice", p); a.Resumed {
		b.t.Error("an expired session is resumed")
	}
}

// testSliding: Touch, Attach and Detach extend the life of a session. On a machine so slow that the session has expired
// between two steps, nothing can be said: the test begins again, with twice the time.
func testSliding(b *bench) {
	for ttl := time.Second; b.slides(ttl); ttl *= 2 {
		if ttl > time.Minute {
			b.t.Fatal("the machine is too slow")
		}
	}
}

// slides is testSliding with one TTL. It reports whether it was too slow.
func (b *bench) slides(ttl time.Duration) (late bool) {
	extended := time.Now() // or later
	p := session.Policy{TTL: ttl}
	s := b.attach(session.ID{}, "alice", p).Session
	exists := func() bool { return b.exists(s.ID) }
	touch := func() bool {
		lost, err := b.Touch(b.ctx, []session.Ref{ref(s)})
		b.must(err)
		return len(lost) == 0
	}
	for _, step := range []struct {
		what    string
		after   time.Duration // in hundredths of the TTL
		do      func() bool   // reports whether the session is alive
		extends bool
	}{
		{"a touch", 35, touch, true},
		{"a second touch", 35, touch, true},
		{"a third touch", 35, touch, true},
		{"a fourth touch", 35, touch, true}, // later than its time since it was made
		{"touches", 0, exists, false},
		{"the end of its connection", 35, func() bool { b.detach(s); return true }, true},
		{"the time after its connection", 60, exists, false},
		{"another connection", 0, func() bool { return b.attach(s.ID, "alice", p).Resumed }, true},
		{"the time of another connection", 60, exists, false},
	} {
		b.pass(step.after * ttl / 100)
		began := time.Now()
		alive := step.do()
		if b.Advance == nil && time.Since(extended) >= ttl {
			return true
		}
		if !alive {
			b.t.Fatalf("%s: the session does not exist", step.what)
		}
		if step.extends {
			extended = began
		}
	}
	return false
}

// testTouchAndRestore: Touch reports lost sessions, and Restore brings them back.
func testTouchAndRestore(b *bench) {
	known := b.open("alice")
	lost := session.Saved{
		Session: session.Session{
			ID: session.NewID("bob"), User: "bob", Params: map[string]string{"a": "b"}, TTL: time.Hour,
			Created: time.Now().Add(-time.Hour).Truncate(time.Millisecond), Place: b.place(),
		},
		Values: map[string][]byte{"k": []byte("v")},
	}
	refs := []session.Ref{ref(known), ref(lost.Session)}
	got, err := b.Touch(b.ctx, refs)
	if err != nil || len(got) != 1 || got[0] != refs[1] {
		b.t.Fatalf("Touch: got %v, %v, want %v", got, err, refs[1])
	}
	superseded, err := b.Restore(b.ctx, []session.Saved{lost})
	if err != nil || len(superseded) > 0 {
		b.t.Fatalf("Restore: %v, %v", superseded, err)
	}
	s := b.find(lost.ID)
	if s.User != "bob" || s.Place != lost.Place || s.Params["a"] != "b" || !s.Created.Equal(lost.Created) {
		b.t.Errorf("got %+v, want %+v", s, lost.Session)
	}
	if v, err := b.Load(b.ctx, lost.ID); err != nil || string(v["k"]) != "v" {
		b.t.Errorf("Load: got %q, %v", v, err)
	}
	if got, err := b.Touch(b.ctx, refs); err != nil || len(got) != 0 {
		b.t.Errorf("Touch after it: got %v, %v", got, err)
	}
	if list, err := b.List(b.ctx, "bob", session.Page{}); err != nil || len(list) != 1 {
		b.t.Errorf("List: got %v, %v", list, err)
	}
}

// testRestoreLoses: Restore takes no session from a newer connection or another user.
func testRestoreLoses(b *bench) {
	s := b.open("alice")
	b.must(b.Save(b.ctx, s.ID, session.Changes{"k": []byte("new")}))
	old := session.Saved{Session: s, Values: map[string][]byte{"k": []byte("old")}}
	old.Place = b.place()
	superseded, err := b.Restore(b.ctx, []session.Saved{old})
	if err != nil || len(superseded) != 1 || superseded[0] != s.ID {
		b.t.Errorf("another connection's: got %v, %v, want %v", superseded, err, s.ID)
	}
	if got := b.find(s.ID).Place; got != s.Place {
		b.t.Errorf("got %+v, want %+v", got, s.Place)
	}
	if v, err := b.Load(b.ctx, s.ID); err != nil || string(v["k"]) != "new" {
		b.t.Errorf("got %q, %v, want the newer value", v, err)
	}
	b.detach(s)
	superseded, err = b.Restore(b.ctx, []session.Saved{old})
	if err != nil || len(superseded) != 0 || b.find(s.ID).Place != old.Place {
		b.t.Errorf("without a connection: got %v, %v", superseded, err)
	}
}

// testTickets: a ticket can be taken once, until it expires.
func testTickets(b *bench) {
	key := [32]byte{1, 2, 3}
	b.must(b.PutTicket(b.ctx, key, []byte("value\x00"), time.Minute))
	if v, err := b.TakeTicket(b.ctx, key); err != nil || string(v) != "value\x00" {
		b.t.Errorf("got %q, %v", v, err)
	}
	_, err := b.TakeTicket(b.ctx, key)
	b.want("the second time", err, session.ErrNotFound)
	_, err = b.TakeTicket(b.ctx, [32]byte{9})
	b.want("one that never was", err, session.ErrNotFound)
	b.must(b.PutTicket(b.ctx, key, []byte("late"), 20*time.Millisecond))
	b.pass(100 * time.Millisecond)
	_, err = b.TakeTicket(b.ctx, key)
	b.want("after its time", err, session.ErrNotFound)
}

// testTicketRace: if many callers take a ticket at the same time, one of them gets it.
func testTicketRace(b *bench) {
	key := [32]byte{4}
	b.must(b.PutTicket(b.ctx, key, []byte("one"), time.Minute))
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if v, err := b.TakeTicket(b.ctx, key); err == nil && string(v) == "one" {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		b.t.Errorf("%d have got it, want 1", got.Load())
	}
}

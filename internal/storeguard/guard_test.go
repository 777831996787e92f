package storeguard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// attach attaches a connection, or ends the test.
func attach(t *testing.T, s session.Store, user string, conn uint64) session.Session {
	t.Helper()
	a, err := s.Attach(t.Context(), session.Attach{User: user, Place: session.Place{Node: "n", Conn: conn}})
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return a.Session
}

// findOne returns a session, or ErrNotFound.
func findOne(ctx context.Context, s session.Store, id session.ID) (session.Session, error) {
	list, err := s.Find(ctx, id)
	switch {
	case err != nil:
		return session.Session{}, err
	case len(list) == 0:
		return session.Session{}, session.ErrNotFound
	}
	return list[0], nil
}

// TestGuardStore: a guard fulfills the contract while there is no outage.
func TestGuardStore(t *testing.T) {
	const emptyTTL = 150 * time.Millisecond
	sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
		clock := fakeclock.New()
		main := memstore.New(memstore.Config{Now: clock.Now, EmptyTTL: emptyTTL})
		g := storeguard.New(storeguard.Config{Main: main, Spare: memstore.New(memstore.Config{})})
		t.Cleanup(func() { _ = g.Close() })
		return sessiontest.Subject{Store: g, Advance: clock.Advance, EmptyTTL: emptyTTL}
	})
}

// TestGuardImpatientCaller: a caller that cancels its call causes no outage.
func TestGuardImpatientCaller(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	main.hook(func(ctx context.Context, op string) error {
		cancel()
		<-ctx.Done()
		return errors.Join(session.ErrUnavailable, ctx.Err())
	})
	if _, err := g.Attach(ctx, session.Attach{User: "alice"}); err == nil {
		t.Error("a canceled Attach succeeds")
	}
	if n := g.Stats().Outages; n != 0 {
		t.Errorf("got %d outages, want none", n)
	}
}

// TestGuardOutage: after an outage, the main store has everything that was done meanwhile, in order, and the spare
// store has nothing.
func TestGuardOutage(t *testing.T) {
	ctx := t.Context()
	g, main, spare := guarded(t, storeguard.Config{})
	old := attach(t, g, "alice", 1)
	main.down()
	wantErr(t, "the first save", g.Save(ctx, old.ID, session.Changes{"n": []byte("1"), "gone": {1}}), session.ErrDeferred)
	if down, _, cause := g.State(); !down || !strings.Contains(cause.Error(), "pulled") {
		t.Errorf("got down %v, because of %v", down, cause)
	}
	wantErr(t, "the second", g.Save(ctx, old.ID, session.Changes{"n": []byte("2"), "gone": nil}), session.ErrDeferred)
	_, err := g.Load(ctx, old.ID)
	wantErr(t, "Load", err, session.ErrUnavailable)
	_, err = g.Find(ctx, old.ID)
	wantErr(t, "Find", err, session.ErrUnavailable)
	_, err = g.List(ctx, "alice", session.Page{})
	wantErr(t, "List", err, session.ErrUnavailable)
	_, err = g.Drop(ctx, old.ID)
	wantErr(t, "Drop", err, session.ErrUnavailable)
	if lost, err := g.Touch(ctx, []session.Ref{{ID: old.ID, Conn: 1}}); lost != nil || err != nil {
		t.Errorf("Touch: got %v, %v, want nothing", lost, err)
	}
	if err := g.Detach(ctx, []session.Ref{{ID: old.ID, Conn: 1}}); err != nil {
		t.Errorf("Detach: %v", err)
	}
	fresh := attach(t, g, "bob", 2)
	if err := g.Save(ctx, fresh.ID, session.Changes{"k": []byte("v")}); err != nil {
		t.Errorf("a provisional session's Save: %v", err)
	}
	if v, err := g.Load(ctx, fresh.ID); err != nil || string(v["k"]) != "v" {
		t.Errorf("its Load: got %q, %v", v, err)
	}
	again, err := g.Attach(ctx, session.Attach{ID: fresh.ID, User: "bob", Place: session.Place{Node: "n", Conn: 3}})
	if err == nil && again.Pending {
		again, err = g.Claim(ctx, session.Attach{ID: fresh.ID, User: "bob", Place: session.Place{Node: "n", Conn: 3}})
	}
	if err != nil || !again.Resumed || again.Replaced.Conn != 2 {
		t.Errorf("its resumption: got %+v, %v", again, err)
	}
	if err := g.PutTicket(ctx, [32]byte{1}, []byte("t"), time.Minute); err != nil {
		t.Errorf("PutTicket: %v", err)
	}
	main.up()
	untilUp(t, g)
	if v, err := main.Load(ctx, old.ID); err != nil || string(v["n"]) != "2" || len(v) != 1 {
		t.Errorf("the old one: got %q, %v, want what was saved last", v, err)
	}
	if s, err := findOne(ctx, main, old.ID); err != nil || !s.Place.IsZero() {
		t.Errorf("the old one: got %+v, %v, want it without its connection", s, err)
	}
	if s, err := findOne(ctx, main, fresh.ID); err != nil || s.Place.Conn != 3 {
		t.Errorf("the provisional one: got %+v, %v", s, err)
	}
	if v, err := main.Load(ctx, fresh.ID); err != nil || string(v["k"]) != "v" {
		t.Errorf("its values: got %q, %v", v, err)
	}
	_, err = findOne(ctx, spare, fresh.ID)
	wantErr(t, "its copy", err, session.ErrNotFound)
	if v, err := g.TakeTicket(ctx, [32]byte{1}); err != nil || string(v) != "t" {
		t.Errorf("TakeTicket: got %q, %v", v, err)
	}
	want := storeguard.Stats{Outages: 1, Deferred: 2, Replayed: 2, Provisional: 1, Restored: 1}
	got := g.Stats()
	if got.Probes == 0 {
		t.Error("nobody has asked whether it is back")
	}
	if got.Probes = 0; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestGuardRequire: with Require, there are no sessions during an outage, and no waiting for them.
func TestGuardRequire(t *testing.T) {
	g, main, spare := guarded(t, storeguard.Config{Require: true})
	main.down()
	for range 2 {
		_, err := g.Attach(t.Context(), session.Attach{User: "alice"})
		wantErr(t, "Attach", err, session.ErrUnavailable)
		wantErr(t, "PutTicket", g.PutTicket(t.Context(), [32]byte{1}, nil, time.Minute), session.ErrUnavailable)
	}
	if list, err := spare.List(t.Context(), "alice", session.Page{}); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v in the spare store, want none", list, err)
	}
	main.up()
	untilUp(t, g)
	attach(t, g, "alice", 1)
}

// TestGuardQueueLimit: a write for which the queue has no room fails as a whole, and is counted.
func TestGuardQueueLimit(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{QueueLimit: 1000})
	s := attach(t, g, "alice", 1)
	main.down()
	wantErr(t, "one that fits", g.Save(t.Context(), s.ID, session.Changes{"a": []byte("1")}), session.ErrDeferred)
	err := g.Save(t.Context(), s.ID, session.Changes{"a": []byte("2"), "b": make([]byte, 1000)})
	wantErr(t, "one that does not", err, session.ErrUnavailable)
	if err := g.Save(t.Context(), s.ID, session.Changes{"a": make([]byte, session.MaxValueBytes+1)}); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("one that no store takes: got %v", err)
	}
	if st := g.Stats(); st.Deferred != 1 || st.Refused != 1 {
		t.Errorf("got %+v", st)
	}
	main.up()
	untilUp(t, g)
	if v, err := main.Load(t.Context(), s.ID); err != nil || string(v["a"]) != "1" || len(v) != 1 {
		t.Errorf("got %q, %v", v, err)
	}
}

// TestGuardRefusedLater: a request that the main store refuses after an outage is counted, and delays nothing else.
func TestGuardRefusedLater(t *testing.T) {
	ctx := t.Context()
	g, main, spare := guarded(t, storeguard.Config{})
	s := attach(t, g, "alice", 1)
	main.down()
	wantErr(t, "a save of none", g.Save(ctx, session.NewID("bob"), session.Changes{"k": {1}}), session.ErrDeferred)
	wantErr(t, "a save", g.Save(ctx, s.ID, session.Changes{"k": {1}}), session.ErrDeferred)
	good, bad := attach(t, g, "carol", 2), attach(t, g, "dave", 3)
	main.hook(func(_ context.Context, op string) error {
		if op == "restore" {
			if _, err := findOne(ctx, spare, bad.ID); err == nil && g.Stats().Refused < 1 {
				return session.ErrTooLarge // both at once, and then the first of the two
			}
		}
		return nil
	})
	untilUp(t, g)
	if st := g.Stats(); st.Refused != 2 || st.Replayed != 1 || st.Restored != 1 {
		t.Errorf("got %+v", st)
	}
	moved := 0
	for _, id := range []session.ID{good.ID, bad.ID} {
		if _, err := findOne(ctx, main, id); err == nil {
			moved++
		}
	}
	if moved != 1 {
		t.Errorf("%d have moved, want the one that was not refused", moved)
	}
}

// TestGuardWhileMoving: a call for a session that is moving takes effect in the main store.
func TestGuardWhileMoving(t *testing.T) {
	for _, tt := range []struct {
		name  string
		act   func(ctx context.Context, g *storeguard.Guard, id session.ID) error
		check func(t *testing.T, main session.Store, id session.ID)
	}{
		{
			"a save is in it",
			func(ctx context.Context, g *storeguard.Guard, id session.ID) error {
				return g.Save(ctx, id, session.Changes{"k": []byte("late")})
			},
			func(t *testing.T, main session.Store, id session.ID) {
				if v, err := main.Load(t.Context(), id); err != nil || string(v["k"]) != "late" {
					t.Errorf("got %q, %v", v, err)
				}
			},
		},
		{
			"a new connection has it",
			func(ctx context.Context, g *storeguard.Guard, id session.ID) error {
				want := session.Attach{ID: id, User: "bob", Place: session.Place{Node: "n", Conn: 9}}
				a, err := g.Attach(ctx, want)
				if err == nil && a.Pending {
					a, err = g.Claim(ctx, want)
				}
				if err == nil && (!a.Resumed || a.Replaced.Conn != 2) {
					err = fmt.Errorf("got %+v", a)
				}
				return err
			},
			func(t *testing.T, main session.Store, id session.ID) {
				if s, err := findOne(t.Context(), main, id); err != nil || s.Place.Conn != 9 {
					t.Errorf("got %+v, %v", s, err)
				}
			},
		},
		{
			"one that is dropped does not come back",
			func(ctx context.Context, g *storeguard.Guard, id session.ID) error {
				gone, err := g.Drop(ctx, id)
				if err == nil && len(gone) != 1 {
					err = fmt.Errorf("dropped %v", gone)
				}
				return err
			},
			func(t *testing.T, main session.Store, id session.ID) {
				_, err := findOne(t.Context(), main, id)
				wantErr(t, "Find", err, session.ErrNotFound)
			},
		},
		{
			"the end of its connection is known",
			func(ctx context.Context, g *storeguard.Guard, id session.ID) error {
				return g.Detach(ctx, []session.Ref{{ID: id, Conn: 2}})
			},
			func(t *testing.T, main session.Store, id session.ID) {
				if s, err := findOne(t.Context(), main, id); err != nil || !s.Place.IsZero() {
					t.Errorf("got %+v, %v", s, err)
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, main, _ := guarded(t, storeguard.Config{Timeout: redistest.Patience})
			main.down()
			s := attach(t, g, "bob", 2)
			acted := make(chan error, 1)
			var once sync.Once
			main.hook(func(_ context.Context, op string) error {
				if op == "restore" { // it has left, and has not arrived
					once.Do(func() {
						done := make(chan struct{})
						go func() { // ends with the call
							defer close(done)
							acted <- tt.act(context.Background(), g, s.ID)
						}()
						select { // it may wait for the end of the move
						case <-done:
						case <-time.After(50 * time.Millisecond):
						}
					})
				}
				return nil
			})
			if err := <-acted; err != nil {
				t.Fatal(err)
			}
			untilUp(t, g)
			tt.check(t, main.Store, s.ID)
		})
	}
}

// TestGuardTicketOnce: a ticket that the main store may have received before it failed is not in the spare store.
func TestGuardTicketOnce(t *testing.T) {
	g, main, spare := guarded(t, storeguard.Config{})
	main.hook(func(ctx context.Context, op string) error {
		if op == "ticket" { // it is stored, and the answer is lost
			_ = main.Store.PutTicket(ctx, [32]byte{7}, []byte("t"), time.Minute)
			return session.ErrUnavailable
		}
		return nil
	})
	wantErr(t, "PutTicket", g.PutTicket(t.Context(), [32]byte{7}, []byte("t"), time.Minute), session.ErrUnavailable)
	_, err := spare.TakeTicket(t.Context(), [32]byte{7})
	wantErr(t, "the spare store", err, session.ErrNotFound)
}

// TestGuardOtherWorkersTicket: a ticket that another worker has stored in the spare store is taken, even if this worker
// has had no outage.
func TestGuardOtherWorkersTicket(t *testing.T) {
	g, _, spare := guarded(t, storeguard.Config{})
	if err := spare.PutTicket(t.Context(), [32]byte{1}, []byte("t"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if v, err := g.TakeTicket(t.Context(), [32]byte{1}); err != nil || string(v) != "t" {
		t.Errorf("got %q, %v", v, err)
	}
	_, err := g.TakeTicket(t.Context(), [32]byte{1})
	wantErr(t, "the second time", err, session.ErrNotFound)
}

// TestGuardBounds: the main store gets half of the time of a call.
func TestGuardBounds(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{Timeout: time.Hour})
	main.hook(func(ctx context.Context, op string) error {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > 31*time.Minute {
			t.Errorf("%s: until %v, %v", op, at, ok)
		}
		return session.ErrUnavailable
	})
	attach(t, g, "alice", 1)
}

// TestGuardOrder: whatever outages there are, the last write of a session is the one that remains.
func TestGuardOrder(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{})
	s := attach(t, g, "alice", 1)
	last := ""
	for i := range 400 {
		if i%100 == 50 {
			main.down()
		}
		if i%100 == 80 {
			main.up()
			if i%200 == 80 {
				untilUp(t, g)
			}
		}
		v := strconv.Itoa(i)
		if err := g.Save(t.Context(), s.ID, session.Changes{"n": []byte(v)}); err == nil || errors.Is(err, session.ErrDeferred) {
			last = v
		} else {
			t.Fatal(err)
		}
	}
	main.up()
	untilUp(t, g)
	if v, err := main.Load(t.Context(), s.ID); err != nil || string(v["n"]) != last {
		t.Errorf("got %q, %v, want %s", v["n"], err, last)
	}
}

// TestGuardNoOvertaking: a write that comes while an earlier one is being replayed takes effect after it.
func TestGuardNoOvertaking(t *testing.T) {
	g, main, _ := guarded(t, storeguard.Config{Timeout: redistest.Patience})
	s := attach(t, g, "alice", 1)
	main.down()
	wantErr(t, "the first", g.Save(t.Context(), s.ID, session.Changes{"n": []byte("1")}), session.ErrDeferred)
	second := make(chan error, 1)
	var replaying atomic.Bool
	main.hook(func(_ context.Context, op string) error {
		if op == "save" && replaying.CompareAndSwap(false, true) { // the replay of the first
			second <- g.Save(context.Background(), s.ID, session.Changes{"n": []byte("2")})
		}
		return nil
	})
	wantErr(t, "the second", <-second, session.ErrDeferred)
	untilUp(t, g)
	if v, err := main.Store.Load(t.Context(), s.ID); err != nil || string(v["n"]) != "2" {
		t.Errorf("got %q, %v, want the second", v["n"], err)
	}
}

// TestGuardRedis: clients are served while a real server is killed and restarted, and nothing that has succeeded is
// lost.
func TestGuardRedis(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	main := openRedis(t, server.URL())
	g := storeguard.New(storeguard.Config{
		Main: main, Spare: memstore.New(memstore.Config{}), Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { _ = g.Close() })
	const clients = 8
	made := make([][]session.ID, clients)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a, err := g.Attach(t.Context(), session.Attach{
					User: fmt.Sprint("user", c), Place: session.Place{Node: "n", Conn: uint64(c*1_000_000 + n + 1)},
				})
				if err != nil {
					t.Errorf("Attach: %v", err)
					return
				}
				err = g.Save(t.Context(), a.Session.ID, session.Changes{"k": []byte("v")})
				if err != nil && !errors.Is(err, session.ErrDeferred) {
					t.Errorf("Save: %v", err)
					return
				}
				made[c] = append(made[c], a.Session.ID)
				if len(made[c]) >= 2000 {
					<-stop
					return
				}
			}
		})
	}
	outages := func() uint64 { return g.Stats().Outages }
	server.Kill()
	redistest.Until(t, "the outage is noticed", func() bool { return outages() > 0 && g.Stats().Provisional > 100 })
	server.Restart()
	redistest.Until(t, "it is over", func() bool { down, _, _ := g.State(); return !down })
	close(stop)
	wg.Wait()
	untilUp(t, g)
	for _, list := range made {
		for _, id := range list {
			if v, err := main.Load(t.Context(), id); err != nil || string(v["k"]) != "v" {
				t.Fatalf("%v: got %q, %v; %+v", id, v, err, g.Stats())
			}
		}
	}
}

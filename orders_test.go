package expedite

import (
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestDroppedHandshakeTakesNothing: a client that leaves before its connection opens leaves the session, and its values,
// to the connection that has it.
func TestDroppedHandshakeTakesNothing(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	k := d.app.node.Load().gate.keeper
	w := newClient(&auth.Identity{User: "alice"})
	u := &engine.Upgrade{ID: newID(1)}
	if err := k.attach(t.Context(), w, g.Session, u, nil); err != nil || !w.resumed {
		t.Fatalf("attach: %v, resumed %v", err, w.resumed)
	}
	k.dropped(w, u.ID)
	k.flush()
	if got := g.ask("still here"); got == "" {
		t.Error("the connection that had the session got no answer")
	}
	s, err := k.store.Find(t.Context(), w.session)
	if err != nil || s.Place.Conn != uint64(g.Conn) {
		t.Errorf("the session: got %+v, %v; want it with connection %s", s.Place, err, g.Conn)
	}
}

// TestOrdersForOneName: an order that spares a connection does not shield it from another for the same name.
func TestOrdersForOneName(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	o := d.app.node.Load().orders
	revoke, err := Who{User: "alice"}.order(CloseUnauthorized, "revoked")
	if err != nil {
		t.Fatal(err)
	}
	spare, err := Who{User: "alice", Except: g.Conn}.order(CloseKicked, "out")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 2)
	o.mu.Lock()
	for _, ord := range []order{revoke, spare} {
		o.waiting = append(o.waiting, &errand{order: ord, done: func(n int) { done <- n }})
	}
	o.sweeping = true
	o.sweep()
	o.mu.Unlock()
	if a, b := <-done, <-done; a+b != 1 {
		t.Errorf("closed %d and %d, want one", a, b)
	}
	g.wantEnd("revoked, and spared by another order", CloseUnauthorized)
}

// TestGreetedAgain: a worker that knows its primary hears what the next one knows of revocations.
func TestGreetedAgain(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	late := auth.Denial{Kind: auth.DenyUser, Value: "alice", Until: time.Now().Add(time.Hour)}
	if err := d.app.desk.Load().registry.deny.Add(late, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.app.desk.Load().registry.workers() {
		if err := p.Tell(opGreet, nil); err != nil {
			t.Fatal(err)
		}
	}
	g.wantEnd("revoked while the primary was replaced", CloseUnauthorized)
}

// TestKickedSessionStaysAway: a connection that does not answer its close frame does not bring its session back.
func TestKickedSessionStaysAway(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99") // it reads nothing from here on
	n := d.app.node.Load()
	k := n.gate.keeper
	c := n.eng.Lookup(uint64(g.Conn)).Owner().(*Conn)
	saved := []session.Saved{k.saved(c, c.who.Load())}
	if closed, err := d.app.Kick(t.Context(), Who{Session: g.Session}, "out"); err != nil || closed != 1 {
		t.Fatalf("closed %d, %v", closed, err)
	}
	k.touchAll(saved)
	if s, err := k.store.Find(t.Context(), g.Session); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("got %+v, %v, want that there is no such session", s, err)
	}
	h := d.enter("/?access_token=bob/2/99")
	c = n.eng.Lookup(uint64(h.Conn)).Owner().(*Conn)
	saved = []session.Saved{k.saved(c, c.who.Load())}
	if _, err := k.store.Drop(t.Context(), h.Session); err != nil {
		t.Fatal(err)
	}
	k.touchAll(saved)
	if _, err := k.store.Find(t.Context(), h.Session); err != nil {
		t.Errorf("a store that has lost the session of an open connection: %v", err)
	}
}

// TestGreetedAgainEndsFollows: log lines are not sent to those who read them at the primary before.
func TestGreetedAgainEndsFollows(t *testing.T) {
	d := openDoor(t, Config{})
	u := d.app.node.Load().uplink
	if _, err := u.follow(follow{ID: 7, Live: true}); err != nil {
		t.Fatal(err)
	}
	if list := u.followed(); len(list) != 1 {
		t.Fatalf("got %d, want a reader", list)
	}
	if err := u.greet(); err != nil {
		t.Fatal(err)
	}
	if list := u.followed(); len(list) != 0 {
		t.Errorf("got %d, want none", list)
	}
}

// TestMissedRevocations: what other machines could not be told is told by the program that comes next.
func TestMissedRevocations(t *testing.T) {
	redis := sessiontest.StartRedis(t)
	machine := func() *registry {
		r, err := New(Config{Sessions: Sessions{Redis: redis.URL()}}).newRegistry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, next, other := machine(), machine(), machine()
	redis.Kill()
	o, err := Who{User: "alice"}.order(CloseUnauthorized, "revoked")
	if err != nil {
		t.Fatal(err)
	}
	o.Until = time.Now().Add(time.Hour)
	if done, err := first.command(t.Context(), command{Order: o}); err != nil || done.Stored {
		t.Fatalf("got %+v, %v, want that it is not stored", done, err)
	}
	b, err := json.Marshal(estate{Denials: first.deny.All(time.Now()), Node: first.node})
	if err != nil {
		t.Fatal(err)
	}
	e := new(estate)
	if err := json.Unmarshal(b, e); err != nil {
		t.Fatal(err)
	}
	if err := next.inherit(e, nil, nil); err != nil {
		t.Fatal(err)
	}
	redis.Restart()
	for _, r := range []*registry{next, other} {
		r.start()
		defer r.stop()
	}
	deadline := time.After(patience)
	for {
		if _, denied := other.deny.Denies("alice", "", "", time.Now()); denied {
			break
		}
		select {
		case <-deadline:
			t.Fatal("another machine does not hear of it")
		case <-time.After(20 * time.Millisecond):
		}
	}
	_ = first.store.Close()
}

// TestRefreshedIdentity: what Authorize has made of a client outlives its token, and nothing else does.
func TestRefreshedIdentity(t *testing.T) {
	was := &auth.Identity{
		User: "alice", Scopes: []string{"granted"}, TokenID: "1", Issuer: "old", Expiry: time.Unix(1, 0),
		Source: auth.SourceCookie,
	}
	token := &auth.Identity{User: "alice", Scopes: []string{"read"}, TokenID: "2", Issuer: "new", Expiry: time.Unix(2, 0)}
	for _, tt := range []struct {
		authorized bool
		scope      string
	}{{false, "read"}, {true, "granted"}} {
		id := refreshed(was, token, tt.authorized)
		if !id.HasScope(tt.scope) || len(id.Scopes) != 1 {
			t.Errorf("authorized %v: got %q, want %s", tt.authorized, id.Scopes, tt.scope)
		}
		if id.TokenID != "2" || id.Issuer != "new" || !id.Expiry.Equal(token.Expiry) || id.Source != auth.SourceCookie {
			t.Errorf("authorized %v: got %+v, want the new token's", tt.authorized, id)
		}
	}
}

// TestWorkerWaitsForItsPrimary: before it serves, as long as there is one.
func TestWorkerWaitsForItsPrimary(t *testing.T) {
	asked := make(chan struct{}, 100)
	u := newUplink(&node{log: slog.New(slog.DiscardHandler)}, func([]byte) error {
		asked <- struct{}{}
		return errors.New("the queue is full")
	})
	u.waits = true
	met := make(chan struct{})
	go func() {
		u.meet()
		close(met)
	}()
	<-asked
	<-asked
	select {
	case <-met:
		t.Error("it serves without an answer")
	default:
	}
	u.lose()
	select {
	case <-met:
	case <-time.After(patience):
		t.Error("it waits for a primary that is gone")
	}
}

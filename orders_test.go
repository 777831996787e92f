package expedite

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
)

// TestDroppedHandshakeTakesNothing: a client that leaves before its connection opens leaves the session, and its
// values, to the connection that has it.
func TestDroppedHandshakeTakesNothing(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	k := d.app.node.Load().gate.keeper
	w := newClient(&auth.Identity{User: "alice"})
	u := &engine.Upgrade{ID: uint64(connid.New(1))}
	if err := k.attach(t.Context(), w, g.Session, u, nil); err != nil || !w.resumed {
		t.Fatalf("attach: %v, resumed %v", err, w.resumed)
	}
	k.dropped(w, u.ID)
	k.flush()
	if got := g.ask("still here"); got == "" {
		t.Error("the connection that had the session got no answer")
	}
	list, err := k.store.Find(t.Context(), w.session)
	if err != nil || len(list) != 1 || list[0].Place.Conn != uint64(g.Conn) {
		t.Errorf("the session: got %+v, %v; want it with connection %s", list, err, g.Conn)
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
	for _, ord := range []registry.Order{revoke, spare} {
		o.waiting = append(o.waiting, &errand{Order: ord, done: func(n int) { done <- n }})
	}
	o.sweeping = true
	o.sweep()
	o.mu.Unlock()
	if a, b := <-done, <-done; a+b != 1 {
		t.Errorf("closed %d and %d, want one", a, b)
	}
	g.wantEnd("revoked, and spared by another order", CloseUnauthorized)
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
	if list, err := k.store.Find(t.Context(), g.Session); err != nil || len(list) > 0 {
		t.Errorf("got %+v, %v, want that there is no such session", list, err)
	}
	h := d.enter("/?access_token=bob/2/99")
	c = n.eng.Lookup(uint64(h.Conn)).Owner().(*Conn)
	saved = []session.Saved{k.saved(c, c.who.Load())}
	if _, err := k.store.Drop(t.Context(), h.Session); err != nil {
		t.Fatal(err)
	}
	k.touchAll(saved)
	if list, err := k.store.Find(t.Context(), h.Session); err != nil || len(list) == 0 {
		t.Errorf("a store that has lost the session of an open connection: %v, %v", list, err)
	}
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

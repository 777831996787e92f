package expedite

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
)

// TestDroppedHandshakeClosesTheReplaced: a client that leaves before its connection opens has taken the session: the
// connection that had it is closed all the same.
func TestDroppedHandshakeClosesTheReplaced(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	k := d.app.node.Load().gate.keeper
	w := newClient(&auth.Identity{User: "alice"})
	u := &engine.Upgrade{ID: newID(1)}
	if err := k.attach(t.Context(), w, g.Session, u, nil); err != nil || !w.resumed {
		t.Fatalf("attach: %v, resumed %v", err, w.resumed)
	}
	k.dropped(w, u.ID)
	g.wantEnd("the connection that had the session", CloseReplaced)
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

package expedite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
)

// TestListingOfMany: however many sessions there are, and however long their names, all can be listed, and a kick of
// their user deletes them all.
func TestListingOfMany(t *testing.T) {
	const sessions, clients = 1500, 25
	path := filepath.Join(t.TempDir(), "c")
	d := openDoor(t, Config{Control: path})
	store := d.app.role.Load().worker.Tracker().Store
	user := strings.Repeat("\x01", session.MaxUserBytes) // which JSON writes as \u0001
	for range sessions {
		if _, err := store.Attach(t.Context(), session.Attach{User: user}); err != nil {
			t.Fatal(err)
		}
	}
	client, err := control.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	list, err := client.Sessions(t.Context(), control.SessionsRequest{User: user, Limit: 2 * sessions})
	if err != nil || list.More {
		t.Errorf("more %v, %v", list.More, err)
	}
	wantEach(t, list.Sessions, sessions)
	part, err := client.Sessions(t.Context(), control.SessionsRequest{User: user, Limit: 1200})
	if err != nil || !part.More {
		t.Errorf("a part: more %v, %v", part.More, err)
	}
	wantEach(t, part.Sessions, 1200)
	for range clients {
		d.enter("/")
	}
	var live []control.Session
	for req := (control.SessionsRequest{Limit: 4}); ; {
		page, err := client.Sessions(t.Context(), req)
		if err != nil || len(page.Sessions) > req.Limit {
			t.Fatalf("%d sessions, %v", len(page.Sessions), err)
		}
		live = append(live, page.Sessions...)
		if req.After = page.Next; req.After == "" {
			break
		}
	}
	wantEach(t, live, clients)
	for _, after := range []string{"x", "1.x", "x." + strings.Repeat("0", 48)} {
		for _, user := range []string{"", "alice"} {
			if _, err := client.Sessions(t.Context(), control.SessionsRequest{User: user, After: after}); err == nil {
				t.Errorf("after %q: got no error", after)
			}
		}
	}
	if _, err := d.app.Kick(t.Context(), Who{User: user}, ""); err != nil {
		t.Error(err)
	}
	if left, err := store.List(t.Context(), user, session.Page{}); err != nil || len(left) > 0 {
		t.Errorf("%d sessions are left, %v", len(left), err)
	}
}

// TestFullStoreShows: sessions that find the primary's store full are counted in status.
func TestFullStoreShows(t *testing.T) {
	_, app := runApp(t, Config{Workers: -1, Sessions: Sessions{MaxSessions: 1}})
	d := app.role.Load().control
	store := app.role.Load().worker.Tracker().Store
	for _, user := range []string{"alice", "bob"} {
		_, err := store.Attach(t.Context(), session.Attach{User: user, Policy: session.Policy{TTL: time.Hour}})
		if full := errors.Is(err, session.ErrFull); full != (user == "bob") {
			t.Fatalf("%s: %v", user, err)
		}
	}
	st, err := d.Status(t.Context())
	if err != nil || st.Totals.Limits["sessions"] != 1 {
		t.Errorf("got %v, %v; want one hit of sessions", st.Totals.Limits, err)
	}
}

// ownStore is a store of the application. It counts its calls.
type ownStore struct {
	session.Store
	calls, drops atomic.Int64
}

// Attach implements session.Store.
func (s *ownStore) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	s.calls.Add(1)
	return s.Store.Attach(ctx, a)
}

// Drop implements session.Store.
func (s *ownStore) Drop(ctx context.Context, ids ...session.ID) ([]session.Session, error) {
	s.drops.Add(1)
	return s.Store.Drop(ctx, ids...)
}

// TestOwnStore: the application's store keeps the sessions, and operators list and drop them through a worker.
func TestOwnStore(t *testing.T) {
	store := &ownStore{Store: memstore.New(memstore.Config{})}
	d := openDoor(t, Config{Sessions: Sessions{Store: store}})
	g := d.enter("/?access_token=alice/1/99")
	if g.ask("set k v"); g.ask("get k") != "v" {
		t.Error("the session does not keep its value")
	}
	if values, err := store.Load(t.Context(), g.Session); err != nil || string(values["k"]) != "v" {
		t.Errorf("the store has %q, %v", values, err)
	}
	op := d.app.role.Load().control
	st, err := op.Status(t.Context())
	if err != nil || st.Sessions.Store != "custom" {
		t.Errorf("status: %+v, %v, want a custom store", st.Sessions, err)
	}
	list, err := op.Sessions(t.Context(), control.SessionsRequest{User: "alice"})
	if err != nil || len(list.Sessions) != 1 || list.Sessions[0].ID != g.Session.String() {
		t.Errorf("sessions of the user: %+v, %v", list, err)
	}
	live, err := op.Sessions(t.Context(), control.SessionsRequest{})
	if err != nil || len(live.Sessions) != 1 || live.Sessions[0].Created.IsZero() {
		t.Errorf("live sessions: %+v, %v", live, err)
	}
	if _, err := d.app.Kick(t.Context(), Who{User: "alice"}, "out"); err != nil {
		t.Error(err)
	}
	if left, err := store.Find(t.Context(), g.Session); err != nil || len(left) > 0 {
		t.Errorf("after the kick the store has %+v, %v", left, err)
	}
	if store.calls.Load() == 0 || store.drops.Load() == 0 {
		t.Errorf("attached %d times, dropped %d times", store.calls.Load(), store.drops.Load())
	}
}

// TestLiveInPages: a list of connections that is too long for one message comes in several, each connection once.
func TestLiveInPages(t *testing.T) {
	const clients, page = 300, 256
	d := openDoor(t, Config{})
	for i := range clients {
		d.enter(fmt.Sprintf("/?access_token=%s%d/1/99", strings.Repeat("u", 3000), i))
	}
	r := d.app.role.Load().control.Registry()
	list, err := r.Live(t.Context(), "", page)
	if err == nil {
		var rest []session.Session
		rest, err = r.Live(t.Context(), registry.LiveCursor(list[len(list)-1]), page)
		list = append(list, rest...)
	}
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[session.ID]bool)
	for _, s := range list {
		known[s.ID] = true
	}
	if len(list) != clients || len(known) != clients {
		t.Errorf("got %d, %d of them different, want %d", len(list), len(known), clients)
	}
	if got := r.Connected(t.Context()); got == nil || *got != clients {
		t.Errorf("counted %v, want %d", got, clients)
	}
}

// wantEach checks that each session is listed once.
func wantEach(t *testing.T, list []control.Session, want int) {
	t.Helper()
	seen := make(map[string]bool)
	for _, s := range list {
		seen[s.ID] = true
	}
	if len(list) != want || len(seen) != want {
		t.Errorf("got %d sessions, %d different ones, want %d", len(list), len(seen), want)
	}
}

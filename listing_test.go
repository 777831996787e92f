package expedite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/session"
)

// TestListingOfMany: however many sessions there are, and however long their names, all can be listed, and a kick of
// their user deletes them all.
func TestListingOfMany(t *testing.T) {
	const sessions, clients = 1500, 25
	path := filepath.Join(t.TempDir(), "c")
	d := openDoor(t, Config{Control: path})
	memory := d.app.desk.Load().registry.memory
	user := strings.Repeat("\x01", session.MaxUserBytes) // which JSON writes as \u0001
	for range sessions {
		if _, err := memory.Attach(t.Context(), session.Attach{User: user}); err != nil {
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
	if left, err := memory.List(t.Context(), user, session.Page{}); err != nil || len(left) > 0 {
		t.Errorf("%d sessions are left, %v", len(left), err)
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

package access

import (
	"slices"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/session"
)

// TestRecord: what a connection is to the next worker is what it was, record by record; what a later build has added is
// passed over, and what it cannot do without is an error.
func TestRecord(t *testing.T) {
	id := auth.Identity{
		User: "alice", TokenID: "t1", Scopes: []string{"a", "b"}, Expiry: time.Unix(2_000_000_000, 0),
		Claims: map[string]any{"plan": "gold"}, Source: auth.SourceQuery,
	}
	w := new(details)
	w.identify(&id)
	w.session, w.resumed, w.headers = session.NewID("alice"), true, "User-Agent=x"
	c := &Client{Query: "a=1", extra: &extra{values: []string{"7", "", "a/b"}, subprotocol: "v2"}}
	c.extra.published.Store(77)
	c.details.Store(w)
	b := c.record(nil)
	got := new(Client)
	rest, err := got.parse(append(b, recordCarried, 1, 9, recordClaim, 1, 1, recordBegan, 4, 7, 0, 0, 0, 0xf0, 2, 1, 2))
	if err != nil || string(rest.carried) != "\t" || !rest.claim || got.silent.Load() != 7 {
		t.Fatalf("got %+v, %+v, %v", rest, got, err)
	}
	g := got.details.Load()
	if got.Query != "a=1" || g.user != "alice" || g.session != w.session || !g.resumed || g.headers != w.headers {
		t.Errorf("got %+v of query %q, want %+v", g, got.Query, w)
	}
	if x := got.extra; x == nil || !slices.Equal(x.values, c.extra.values) || x.subprotocol != "v2" || x.published.Load() != 77 {
		t.Errorf("got %+v, want %+v", x, c.extra)
	}
	back := got.Identity()
	if back.TokenID != "t1" || len(back.Scopes) != 2 || back.Claims["plan"] != "gold" || !back.Expiry.Equal(id.Expiry) {
		t.Errorf("got %+v, want %+v", back, id)
	}
	old := new(Client) // of a build that knew users only
	if _, err := old.parse(appendRecord(nil, recordUser, "bob")); err != nil || old.User() != "bob" {
		t.Errorf("of an old build: got %q, %v", old.User(), err)
	}
	plain := new(Client)
	if _, err := plain.parse(nil); err != nil || plain.details.Load() != nil || plain.extra != nil || plain.User() != "" || plain.Identity() != nil {
		t.Errorf("nobody: got %+v, %v", plain.details.Load(), err)
	}
	for name, bad := range map[string][]byte{
		"cut off": b[:len(b)-1], "unknown and needed": {0x70, 0}, "session of a wrong length": {recordSession, 1, 0},
	} {
		if _, err := new(Client).parse(bad); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

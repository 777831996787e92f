package expedite

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
)

// TestFullStoreShows: sessions that find the primary's store full are counted in status.
func TestFullStoreShows(t *testing.T) {
	_, app := runApp(t, Config{Workers: 1, Sessions: Sessions{MaxSessions: 1}})
	d := app.desk.Load()
	for _, user := range []string{"alice", "bob"} {
		_, err := d.registry.memory.Attach(t.Context(), session.Attach{User: user, Policy: session.Policy{TTL: time.Hour}})
		if full := errors.Is(err, session.ErrFull); full != (user == "bob") {
			t.Fatalf("%s: %v", user, err)
		}
	}
	st, err := d.Status(t.Context())
	if err != nil || st.Totals.Limits["sessions"] != 1 {
		t.Errorf("got %v, %v; want one hit of sessions", st.Totals.Limits, err)
	}
}

// TestRefusedProfilesCount: profiles beyond those that a worker makes at a time are refused and counted.
func TestRefusedProfilesCount(t *testing.T) {
	l := profiles{list: map[uint64]*profile{1: nil, 2: nil}}
	b, err := json.Marshal(profileRequest{ID: 3, Path: "/debug/pprof/heap"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = l.serve(nil, b); err != nil || l.refused.Load() != 1 {
		t.Errorf("got %v, %d refused; want 1", err, l.refused.Load())
	}
}

package remotestore_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/remotestore"
	"github.com/expedite-go/expedite/session"
)

var update = flag.Bool("update", false, "write the golden files")

// fixed is a store with fixed answers.
type fixed struct{ session.Store }

var (
	goldenID = session.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
	otherID  = session.ID{9: 9, 23: 255}
	golden   = session.Session{
		ID: goldenID, User: "alice", Params: map[string]string{"app": "1.2", "device": "phone"},
		Created: time.UnixMicro(1_700_000_000_000_001), Seen: time.UnixMicro(1_700_000_100_000_000), TTL: time.Hour,
		Place: session.Place{Node: "n1", Conn: 1<<63 + 7},
	}
	other = session.Session{ID: otherID, TTL: time.Minute}
)

func (fixed) Attach(context.Context, session.Attach) (session.Attached, error) {
	return session.Attached{Session: golden, Resumed: true, Pending: true}, nil
}

func (fixed) Claim(context.Context, session.Attach) (session.Attached, error) {
	return session.Attached{
		Session: golden, Resumed: true, Replaced: session.Place{Node: "n2", Conn: 9}, Evicted: []session.Session{other},
	}, nil
}

func (fixed) Detach(context.Context, []session.Ref) error  { return nil }
func (fixed) Discard(context.Context, []session.Ref) error { return session.ErrUnavailable }

func (fixed) Touch(_ context.Context, refs []session.Ref) ([]session.Ref, error) {
	return refs[1:], nil
}

func (fixed) Restore(context.Context, []session.Saved) ([]session.ID, error) {
	return []session.ID{otherID}, nil
}

func (fixed) Load(_ context.Context, _ session.ID, keys ...string) (map[string][]byte, error) {
	if len(keys) > 0 {
		return map[string][]byte{"a": {1}}, nil
	}
	return map[string][]byte{"a": {1}, "b": {}}, nil
}

func (fixed) Save(context.Context, session.ID, session.Changes) error {
	return fmt.Errorf("%w: 65 values", session.ErrTooLarge)
}

func (fixed) Find(_ context.Context, ids ...session.ID) ([]session.Session, error) {
	return []session.Session{golden, other}[:len(ids)], nil
}

func (fixed) List(context.Context, string, session.Page) ([]session.Session, error) {
	return []session.Session{golden, other}, nil
}

func (fixed) Drop(context.Context, ...session.ID) ([]session.Session, error) {
	return []session.Session{other}, nil
}

func (fixed) PutTicket(context.Context, [32]byte, []byte, time.Duration) error {
	return errors.New("anything else")
}

func (fixed) TakeTicket(context.Context, [32]byte) ([]byte, error) { return []byte("value"), nil }

// TestWireGolden: requests and answers are, byte for byte, those of the releases before.
func TestWireGolden(t *testing.T) {
	ctx := t.Context()
	attach := session.Attach{
		ID: goldenID, User: "alice", Params: map[string]string{}, Place: golden.Place,
		Policy: session.Policy{TTL: time.Hour, MaxPerUser: 3, Refuse: true, Stale: time.Minute},
	}
	refs := []session.Ref{{ID: goldenID, Conn: 7}, {ID: otherID, Conn: 1 << 40}}
	var got bytes.Buffer
	for _, tt := range []struct {
		name string
		call func(s session.Store) error
	}{
		{"attach", func(s session.Store) error { _, err := s.Attach(ctx, attach); return err }},
		{"attach-new", func(s session.Store) error { _, err := s.Attach(ctx, session.Attach{}); return err }},
		{"claim", func(s session.Store) error { _, err := s.Claim(ctx, attach); return err }},
		{"detach", func(s session.Store) error { return s.Detach(ctx, refs) }},
		{"discard", func(s session.Store) error { return s.Discard(ctx, refs) }},
		{"touch", func(s session.Store) error { _, err := s.Touch(ctx, refs); return err }},
		{"restore", func(s session.Store) error {
			anonymous := other
			anonymous.ID = goldenID
			_, err := s.Restore(ctx, []session.Saved{{Session: anonymous, Values: map[string][]byte{"k": []byte("v"), "e": {}}}})
			return err
		}},
		{"load", func(s session.Store) error { _, err := s.Load(ctx, goldenID); return err }},
		{"save", func(s session.Store) error { return s.Save(ctx, goldenID, session.Changes{"gone": nil}) }},
		{"save-empty", func(s session.Store) error { return s.Save(ctx, goldenID, session.Changes{"empty": {}}) }},
		{"find", func(s session.Store) error { _, err := s.Find(ctx, goldenID); return err }},
		{"list", func(s session.Store) error {
			_, err := s.List(ctx, "alice", session.Page{Created: golden.Created, ID: goldenID, Max: 2})
			return err
		}},
		{"drop", func(s session.Store) error { _, err := s.Drop(ctx, goldenID, otherID); return err }},
		{"put-ticket", func(s session.Store) error {
			return s.PutTicket(ctx, [32]byte{1, 2, 3}, []byte("value"), time.Minute)
		}},
		{"take-ticket", func(s session.Store) error { _, err := s.TakeTicket(ctx, [32]byte{1, 2, 3}); return err }},
		{"find-many", func(s session.Store) error { _, err := s.Find(ctx, goldenID, otherID); return err }},
		{"load-keys", func(s session.Store) error { _, err := s.Load(ctx, goldenID, "a", "c"); return err }},
	} {
		link := func(ctx context.Context, request []byte) ([]byte, error) {
			answer := remotestore.Serve(ctx, fixed{}, request)
			fmt.Fprintf(&got, "%s %x %x\n", tt.name, request, answer)
			return answer, nil
		}
		_ = tt.call(remotestore.New(link)) // the answer has the error, too
	}
	const path = "testdata/wire-v1.txt"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

package storeguard

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/session"
)

// checkTTL is how long what Check leaves behind lives if it cannot be deleted.
const checkTTL = 5 * time.Second

// Check says whether a store does all that sessions need, by the life of one session of a user that nobody is: a store
// that can only be read, that is full, or whose user lacks a permission fails. The error names the first thing that
// does not work.
func Check(ctx context.Context, s session.Store) error {
	var key [32]byte
	_, _ = crand.Read(key[:]) // never fails: crypto/rand ends the process instead
	user := fmt.Sprintf("\x00check:%x", key[:8])
	at := session.Place{Node: "check", Conn: 1}
	a, err := s.Attach(ctx, session.Attach{User: user, Place: at, Policy: session.Policy{TTL: checkTTL, MaxPerUser: 1}})
	if err != nil {
		return fmt.Errorf("a session cannot be made: %w", err)
	}
	id := a.Session.ID
	ref := []session.Ref{{ID: id, Conn: at.Conn}}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"resumed", func() error {
			_, err := s.Attach(ctx, session.Attach{ID: id, User: user, Place: at, Policy: session.Policy{TTL: checkTTL}})
			return err
		}},
		{"given a value", func() error { return s.Save(ctx, id, session.Changes{"k": {1}}) }},
		{"relieved of a value", func() error { return s.Save(ctx, id, session.Changes{"k": nil}) }},
		{"read", func() error { _, err := s.Load(ctx, id); return err }},
		{"found", func() error { _, err := s.Find(ctx, id); return err }},
		{"listed", func() error { _, err := s.List(ctx, user, session.Page{}); return err }},
		{"touched", func() error { _, err := s.Touch(ctx, ref); return err }},
		{"detached", func() error { return s.Detach(ctx, ref) }},
		{"restored", func() error {
			_, err := s.Restore(ctx, []session.Saved{{Session: a.Session}})
			return err
		}},
		{"deleted", func() error { _, err := s.Drop(ctx, id); return err }},
	} {
		if err := step.do(); err != nil && !errors.Is(err, session.ErrNotFound) {
			return fmt.Errorf("a session cannot be %s: %w", step.what, err)
		}
	}
	if err := s.PutTicket(ctx, key, nil, time.Second); err != nil {
		return fmt.Errorf("a ticket cannot be made: %w", err)
	}
	if _, err := s.TakeTicket(ctx, key); err != nil && !errors.Is(err, session.ErrNotFound) {
		return fmt.Errorf("a ticket cannot be taken: %w", err)
	}
	return nil
}

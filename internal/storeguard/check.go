package storeguard

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/session"
)

// checkTTL is the lifetime of the session of Check, in case that it cannot be deleted.
const checkTTL = 5 * time.Second

// Check tries out all methods of a store with a session of a user that does not exist. It returns the first error: a
// store fails if it is read-only, if it is full, or if its user lacks a permission.
func Check(ctx context.Context, s session.Store) error {
	var key [32]byte
	_, _ = crand.Read(key[:]) // never fails: crypto/rand ends the process instead
	user := fmt.Sprintf("\x00check:%x", key[:8])
	at := session.Place{Node: "check", Conn: 1}
	a, err := s.Attach(ctx, session.Attach{User: user, Place: at, Policy: session.Policy{TTL: checkTTL, MaxPerUser: 1}})
	if err != nil {
		return fmt.Errorf("cannot create a session: %w", err)
	}
	id := a.Session.ID
	refs := []session.Ref{{ID: id, Conn: at.Conn}}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"resume a session", func() error {
			_, err := s.Attach(ctx, session.Attach{ID: id, User: user, Place: at, Policy: session.Policy{TTL: checkTTL}})
			return err
		}},
		{"set a value", func() error { return s.Save(ctx, id, session.Changes{"k": {1}}) }},
		{"delete a value", func() error { return s.Save(ctx, id, session.Changes{"k": nil}) }},
		{"load values", func() error { _, err := s.Load(ctx, id); return err }},
		{"find a session", func() error { _, err := s.Find(ctx, id); return err }},
		{"list sessions", func() error { _, err := s.List(ctx, user, session.Page{}); return err }},
		{"touch a session", func() error { _, err := s.Touch(ctx, refs); return err }},
		{"detach a session", func() error { return s.Detach(ctx, refs) }},
		{"restore a session", func() error {
			_, err := s.Restore(ctx, []session.Saved{{Session: a.Session}})
			return err
		}},
		{"delete a session", func() error { _, err := s.Drop(ctx, id); return err }},
		{"store a ticket", func() error { return s.PutTicket(ctx, key, nil, time.Second) }},
		{"take a ticket", func() error { _, err := s.TakeTicket(ctx, key); return err }},
	} {
		if err := step.do(); err != nil && !errors.Is(err, session.ErrNotFound) {
			return fmt.Errorf("cannot %s: %w", step.what, err)
		}
	}
	return nil
}

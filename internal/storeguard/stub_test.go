package storeguard_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redistest"

	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
)

// stub is a memory store whose calls a test can intercept.
type stub struct {
	session.Store
	mu     sync.Mutex
	before func(ctx context.Context, op string) error // nil lets all pass
}

func newStub() *stub { return &stub{Store: memstore.New(memstore.Config{})} }

// hook sets a function that is called before each operation.
func (s *stub) hook(f func(ctx context.Context, op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// down makes all calls fail until up is called.
func (s *stub) down() {
	s.hook(func(context.Context, string) error { return fmt.Errorf("%w: pulled", session.ErrUnavailable) })
}

func (s *stub) up() { s.hook(nil) }

func (s *stub) ask(ctx context.Context, op string) error {
	s.mu.Lock()
	f := s.before
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx, op)
}

func (s *stub) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := s.ask(ctx, "attach"); err != nil {
		return session.Attached{}, err
	}
	return s.Store.Attach(ctx, a)
}

func (s *stub) Claim(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := s.ask(ctx, "claim"); err != nil {
		return session.Attached{}, err
	}
	return s.Store.Claim(ctx, a)
}

func (s *stub) Discard(ctx context.Context, refs []session.Ref) error {
	if err := s.ask(ctx, "discard"); err != nil {
		return err
	}
	return s.Store.Discard(ctx, refs)
}

func (s *stub) Detach(ctx context.Context, refs []session.Ref) error {
	if err := s.ask(ctx, "detach"); err != nil {
		return err
	}
	return s.Store.Detach(ctx, refs)
}

func (s *stub) Touch(ctx context.Context, refs []session.Ref) ([]session.Ref, error) {
	if err := s.ask(ctx, "touch"); err != nil {
		return nil, err
	}
	return s.Store.Touch(ctx, refs)
}

func (s *stub) Restore(ctx context.Context, list []session.Saved) ([]session.ID, error) {
	if err := s.ask(ctx, "restore"); err != nil {
		return nil, err
	}
	return s.Store.Restore(ctx, list)
}

func (s *stub) Load(ctx context.Context, id session.ID, keys ...string) (map[string][]byte, error) {
	if err := s.ask(ctx, "load"); err != nil {
		return nil, err
	}
	return s.Store.Load(ctx, id, keys...)
}

func (s *stub) Save(ctx context.Context, id session.ID, c session.Changes) error {
	if err := s.ask(ctx, "save"); err != nil {
		return err
	}
	return s.Store.Save(ctx, id, c)
}

func (s *stub) Find(ctx context.Context, ids ...session.ID) ([]session.Session, error) {
	if err := s.ask(ctx, "find"); err != nil {
		return nil, err
	}
	return s.Store.Find(ctx, ids...)
}

func (s *stub) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	if err := s.ask(ctx, "list"); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, user, page)
}

func (s *stub) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := s.ask(ctx, "ticket"); err != nil {
		return err
	}
	return s.Store.PutTicket(ctx, key, value, ttl)
}

func (s *stub) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	if err := s.ask(ctx, "take"); err != nil {
		return nil, err
	}
	return s.Store.TakeTicket(ctx, key)
}

// guarded returns a guard with two stubs, and closes it with the test.
func guarded(t *testing.T, c storeguard.Config) (g *storeguard.Guard, main, spare *stub) {
	t.Helper()
	main, spare = newStub(), newStub()
	c.Main, c.Spare, c.Log = main, spare, slog.New(slog.DiscardHandler)
	g = storeguard.New(c)
	t.Cleanup(func() { _ = g.Close() })
	return g, main, spare
}

// untilUp waits until the outage is over.
func untilUp(t *testing.T, g *storeguard.Guard) {
	t.Helper()
	redistest.Until(t, "the outage is over", func() bool { down, _, _ := g.State(); return !down })
}

package memstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// valueSet are the values of a session.
type valueSet struct {
	values map[string][]byte
	bytes  int
}

type ticket struct {
	value   []byte
	expires int64 // microseconds since 1970
}

// Load implements session.Store.
func (s *Store) Load(_ context.Context, id session.ID, keys ...string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.live(id, s.now())
	if i == 0 {
		return nil, session.ErrNotFound
	}
	values := make(map[string][]byte)
	set := s.values[i]
	if set == nil {
		return values, nil
	}
	if len(keys) == 0 {
		for k, v := range set.values {
			values[k] = slices.Clone(v)
		}
	}
	for _, k := range keys {
		if v, ok := set.values[k]; ok {
			values[k] = slices.Clone(v)
		}
	}
	return values, nil
}

// Save implements session.Store.
func (s *Store) Save(_ context.Context, id session.ID, changes session.Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.live(id, s.now())
	if i == 0 {
		return session.ErrNotFound
	}
	return s.save(i, changes)
}

// save changes values, all or none. s.mu is held.
func (s *Store) save(i uint32, changes session.Changes) error {
	if len(changes) == 0 {
		return nil
	}
	var before valueSet
	if set := s.values[i]; set != nil {
		before = *set
	}
	values, err := changes.Apply(before.values)
	if err != nil {
		return err
	}
	after := valueSet{values, sessionwire.Size(values)}
	grown := after.bytes - before.bytes
	if grown > 0 && s.table.bytes+grown > s.config.MaxBytes {
		s.count.full++
		return fmt.Errorf("%w: %d bytes", session.ErrFull, s.table.bytes)
	}
	s.table.bytes += grown
	if len(values) == 0 {
		delete(s.values, i)
	} else {
		s.values[i] = &after
	}
	return nil
}

// PutTicket implements session.Store.
func (s *Store) PutTicket(_ context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.dropTicket(key)
	if len(s.tickets) >= s.config.MaxTickets {
		s.sweepTickets(fullSweep, now)
	}
	if len(s.tickets) >= s.config.MaxTickets || s.table.bytes+len(value) > s.config.MaxBytes {
		s.count.full++
		return fmt.Errorf("%w: %d tickets, %d bytes", session.ErrFull, len(s.tickets), s.table.bytes)
	}
	s.tickets[key] = ticket{slices.Clone(value), now + session.ClampTTL(ttl).Microseconds()}
	s.table.bytes += len(value)
	return nil
}

// TakeTicket implements session.Store.
func (s *Store) TakeTicket(_ context.Context, key [32]byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tickets[key]
	s.dropTicket(key)
	if !ok || t.expires <= s.now() {
		return nil, session.ErrNotFound
	}
	return t.value, nil
}

// dropTicket deletes a ticket if it exists. s.mu is held.
func (s *Store) dropTicket(key [32]byte) {
	s.table.bytes -= len(s.tickets[key].value)
	delete(s.tickets, key)
}

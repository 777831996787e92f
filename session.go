package expedite

import (
	"context"
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// Sessions is how long, where and how many sessions are kept, for the connections of handlers with Handler.Session.
// Every field may be zero.
type Sessions struct {
	// Redis is the URL of the Redis that keeps the sessions: see redisstore.New. Empty keeps them in the primary.
	Redis string
	// Store keeps the sessions instead: a store of the application's own, for one machine or many. It is used in workers
	// only, and each opens it in its main; package session documents the contract, and sessiontest tests it. While it
	// fails with session.ErrUnavailable, new sessions live in the primary. Nil is Redis, or the primary.
	Store session.Store
	// RequireRedis refuses clients with 503 while Redis, or Store, is away. Without it they get a session that lives in
	// the primary until Redis is back.
	RequireRedis bool
	// TTL is how long a session lives without a connection. 0 is an hour.
	TTL time.Duration
	// EmptyTTL is how long an anonymous session in which no value is stored lives without a connection: whoever comes and
	// goes leaves nothing behind. After a connection of less than 10 s on which the client has said nothing, a new one is
	// gone at once. 0 is two minutes; negative is as long as others.
	EmptyTTL time.Duration
	// MaxPerUser is how many sessions a user may have: when there are as many, disconnected ones go first, and then the
	// connection of the oldest is closed with CloseTooMany. 0 is any number.
	MaxPerUser int
	// RefuseNew refuses the new client instead of closing the oldest connection.
	RefuseNew bool
	// MaxSessions bounds the sessions that the primary keeps. 0 is 2 million.
	MaxSessions int
	// Cookie is the name of a cookie that holds the session to resume, beside the parameter session of the query. The
	// application sets it; it counts on pages of the origins that Auth.Origins allows only. Empty is none.
	Cookie string
}

// defaultEmptyTTL is Sessions.EmptyTTL.
const defaultEmptyTTL = 2 * time.Minute

// emptyTTL is the one in force; 0 is that of all sessions.
func (s *Sessions) emptyTTL() time.Duration {
	if s.EmptyTTL == 0 {
		return defaultEmptyTTL
	}
	return max(s.EmptyTTL, 0)
}

// Close codes of sessions and orders.
const (
	// CloseReplaced is for a connection whose session was resumed by another: do not come back with it.
	CloseReplaced ws.CloseCode = access.CodeReplaced
	// CloseTooMany is for the connection of a session that had to go because its user has too many.
	CloseTooMany ws.CloseCode = access.CodeTooMany
	// CloseKicked is for a connection that App.Kick has closed.
	CloseKicked ws.CloseCode = registry.CodeKicked
)

// ErrNoSession says that a connection has no session: its handler wants none, or no store could give one.
var ErrNoSession = errors.New("expedite: the connection has no session")

// Session is the session of a connection: values that outlive it, and its worker. Its methods ask the store, which may
// take its time: an Inline handler calls them on a goroutine. The errors are those of package session:
// session.ErrDeferred is no loss, the value is stored when the store is back. Any goroutine.
type Session struct{ c *Conn }

// Session is the connection's session. A connection without one has a Session whose methods fail with ErrNoSession.
func (c *Conn) Session() Session { return Session{c} }

// ID is the session's id: what a client shows as ?session= when it comes back. Zero if there is none.
func (s Session) ID() session.ID {
	id, _ := s.c.client.Session()
	return id
}

// Resumed says that the session was there before this connection.
func (s Session) Resumed() bool {
	_, resumed := s.c.client.Session()
	return resumed
}

// store is where the session is kept.
func (s Session) store() (session.Store, session.ID, error) {
	id := s.ID()
	if id.IsZero() {
		return nil, id, ErrNoSession
	}
	return s.c.end.worker.Tracker().Store, id, nil
}

// Values are all values of the session.
func (s Session) Values(ctx context.Context) (map[string][]byte, error) {
	store, id, err := s.store()
	if err != nil {
		return nil, err
	}
	return store.Load(ctx, id)
}

// Get is one value; nil if there is none.
func (s Session) Get(ctx context.Context, key string) ([]byte, error) {
	store, id, err := s.store()
	if err != nil {
		return nil, err
	}
	values, err := store.Load(ctx, id, key)
	return values[key], err
}

// Set sets one value.
func (s Session) Set(ctx context.Context, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.Update(ctx, session.Changes{key: value})
}

// Delete deletes one value.
func (s Session) Delete(ctx context.Context, key string) error {
	return s.Update(ctx, session.Changes{key: nil})
}

// Update sets several values at once, or deletes those that are nil: all or none.
func (s Session) Update(ctx context.Context, changes session.Changes) error {
	store, id, err := s.store()
	if err != nil {
		return err
	}
	return store.Save(ctx, id, changes)
}

package expedite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// Sessions tells where the sessions of handlers with Handler.Session are kept, for how long, and how many. The zero
// value works.
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
	// EmptyTTL is how long an anonymous session without values lives without a connection. A new one is deleted at once if
	// its connection lasted less than 10 s and the client sent nothing: clients that only connect leave nothing behind. 0
	// is two minutes; negative is TTL.
	EmptyTTL time.Duration
	// MaxPerUser is the number of sessions of a user. A further one evicts a session without a connection or, if there is
	// none, the oldest, whose connection is closed with CloseTooMany. 0 is no limit.
	MaxPerUser int
	// RefuseNew refuses the new client instead of closing the oldest connection.
	RefuseNew bool
	// MaxSessions bounds the sessions that the primary keeps. 0 is 2 million.
	MaxSessions int
	// Cookie is the name of a cookie that holds the id of the session to resume, as an alternative to the query parameter
	// session. The application sets it. It counts only on pages of the origins that Auth.Origins allows. Empty is none.
	Cookie string
}

// defaultEmptyTTL is Sessions.EmptyTTL.
const defaultEmptyTTL = 2 * time.Minute

// emptyTTL returns the value in force; 0 is TTL.
func (s *Sessions) emptyTTL() time.Duration {
	if s.EmptyTTL == 0 {
		return defaultEmptyTTL
	}
	return max(s.EmptyTTL, 0)
}

// Close codes of sessions and orders.
const (
	// CloseReplaced closes a connection whose session was resumed by another one. The client must not resume it again.
	CloseReplaced ws.CloseCode = access.CodeReplaced
	// CloseTooMany closes the connection of a session that was evicted because its user has too many.
	CloseTooMany ws.CloseCode = access.CodeTooMany
	// CloseKicked closes the connections of App.Kick.
	CloseKicked ws.CloseCode = registry.CodeKicked
)

// ErrNoSession reports a connection without a session: its handler uses none, or no store was available.
var ErrNoSession = errors.New("expedite: the connection has no session")

// Session is the session of a connection: values that outlive the connection and its worker. Its methods ask the store
// and block until it answers: an Inline handler calls them on a goroutine. They fail with the errors of package
// session. With session.ErrDeferred nothing is lost: the value is stored when the store is available again. Methods are
// safe for concurrent use.
type Session struct{ c *Conn }

// Session returns the connection's session. If it has none, the methods of Session fail with ErrNoSession.
func (c *Conn) Session() Session { return Session{c} }

// ID returns the session's id, with which a client resumes it: ?session=<id>. It is zero if there is no session.
func (s Session) ID() session.ID {
	id, _ := s.c.client.Session()
	return id
}

// Resumed reports whether the session existed before this connection.
func (s Session) Resumed() bool {
	_, resumed := s.c.client.Session()
	return resumed
}

// store returns where the session is kept.
func (s Session) store() (session.Store, session.ID, error) {
	id := s.ID()
	if id.IsZero() {
		return nil, id, ErrNoSession
	}
	return s.c.end.worker.Tracker().Store, id, nil
}

// Values returns all values of the session.
func (s Session) Values(ctx context.Context) (map[string][]byte, error) {
	store, id, err := s.store()
	if err != nil {
		return nil, err
	}
	values, err := store.Load(ctx, id)
	maps.DeleteFunc(values, func(key string, _ []byte) bool { return isReserved(key) })
	return values, err
}

// isReserved reports whether a value of a session is not the application's.
func isReserved(key string) bool { return strings.HasPrefix(key, "\x00") }

// Get returns one value; nil if there is none.
func (s Session) Get(ctx context.Context, key string) ([]byte, error) {
	store, id, err := s.store()
	if err != nil || isReserved(key) {
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

// Update sets several values, and deletes those that are nil: all or none. Keys that begin with a zero byte are
// reserved for the server.
func (s Session) Update(ctx context.Context, changes session.Changes) error {
	store, id, err := s.store()
	if err != nil {
		return err
	}
	for key := range changes {
		if isReserved(key) {
			return fmt.Errorf("expedite: the key %q of a session is reserved", key)
		}
	}
	return store.Save(ctx, id, changes)
}

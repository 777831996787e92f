package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps sessions. Package sessiontest holds what every Store must keep to. All methods are safe for any
// goroutine. Contexts bound the wait; what was asked for may have happened all the same when they end early.
//
// Any method may fail with ErrUnavailable. Slices and maps that are given belong to the caller again when a method
// returns; those that are returned belong to the caller, but for Session.Params, which nobody changes.
type Store interface {
	Attacher
	Values
	Registry
	Tickets
	// Close ends what the store runs. It does not delete anything.
	Close() error
}

// Attacher joins connections to sessions.
type Attacher interface {
	// Attach resumes a session if there is one with that id and of the same user, and makes a new one otherwise. It is
	// atomic, and takes nothing from anyone. If the session has another connection, which keeps it for now, or if the
	// user has more sessions than the policy allows, Attached.Pending is set. It fails with ErrTooManySessions,
	// ErrTooLarge or ErrFull.
	Attach(ctx context.Context, a Attach) (Attached, error)
	// Claim finishes an Attach that is Pending, with its id and Place. It is atomic. The session gets the connection, and
	// others of the user go until there are as many as the policy allows: first the disconnected ones, the one that was
	// seen longest ago first; then, unless the policy refuses, the connected ones, the one that was created first first.
	// At most MaxBatch go at once; Attached.Pending is set if there are more. A Claim that is repeated changes nothing.
	// It fails with ErrNotFound if the session has gone.
	Claim(ctx context.Context, a Attach) (Attached, error)
	// Detach says that connections have ended. A session that has another connection by now is not changed.
	Detach(ctx context.Context, refs []Ref) error
	// Discard is Detach for connections that have hardly begun: it deletes those of the sessions that hold no values.
	Discard(ctx context.Context, refs []Ref) error
	// Touch makes sessions live on from now, whichever connection they have. It returns those that the store does not
	// know: they can be restored.
	Touch(ctx context.Context, refs []Ref) (lost []Ref, err error)
	// Restore puts sessions back that the store has lost, or that lived elsewhere: with their ids and times of
	// creation, seen now. It sets the values that are given and leaves the others. A session that is there with another
	// connection, or of another user, is not changed, and is returned: that connection is the newer one. It fails with
	// ErrTooLarge or ErrFull, at the first that is refused.
	Restore(ctx context.Context, list []Saved) (superseded []ID, err error)
}

// Values are what applications keep in sessions.
type Values interface {
	// Load returns all values of a session. It fails with ErrNotFound.
	Load(ctx context.Context, id ID) (map[string][]byte, error)
	// Save sets and deletes values, all or none. It fails with ErrNotFound, ErrTooLarge, ErrFull or, if the store will
	// do it later, with ErrDeferred.
	Save(ctx context.Context, id ID, changes Changes) error
}

// Registry is what is known of sessions.
type Registry interface {
	// Find returns a session. It fails with ErrNotFound.
	Find(ctx context.Context, id ID) (Session, error)
	// List returns a page of the sessions of a named user, the newest first. Of an anonymous user it returns none.
	List(ctx context.Context, user string, page Page) ([]Session, error)
	// Drop deletes sessions and returns what they were. The connections of those with a Place are to be closed.
	Drop(ctx context.Context, ids ...ID) ([]Session, error)
}

// Tickets keep what can be taken once.
type Tickets interface {
	// PutTicket keeps value for ttl. key is a hash of the ticket. It fails with ErrTooLarge or ErrFull.
	PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error
	// TakeTicket returns and deletes a value. Of many that try at once, one gets it. It fails with ErrNotFound.
	TakeTicket(ctx context.Context, key [32]byte) ([]byte, error)
}

// Limits of a Store. What is longer is refused with ErrTooLarge, but for TTLs, which are cut.
const (
	MaxValues      = 64       // of a session
	MaxChanges     = 128      // values that one Save sets or deletes
	MaxValueBytes  = 64 << 10 // of all values of a session, their keys included
	MaxUserBytes   = 4 << 10  // of a user's name
	MaxParams      = 32       // of a session
	MaxParamBytes  = 4 << 10  // of all parameters of a session, their keys included
	MaxNodeBytes   = 64       // of a node's name
	MaxTicketBytes = 16 << 10 // of a ticket's value
	MaxList        = 1000     // sessions in a page of a list
	MaxBatch       = 512      // sessions in one request; stores divide what is longer

	DefaultTTL = time.Hour
	MaxTTL     = 45 * 24 * time.Hour
	MinTTL     = time.Millisecond
)

// Errors of a Store.
var (
	// ErrNotFound says that there is no such session or ticket, or none any more.
	ErrNotFound = errors.New("session: not found")
	// ErrTooManySessions says that the user has as many connected sessions as the policy allows.
	ErrTooManySessions = errors.New("session: too many sessions of this user")
	// ErrTooLarge says that a limit of what one session may hold would be passed.
	ErrTooLarge = errors.New("session: too large")
	// ErrFull says that the store is full.
	ErrFull = errors.New("session: store is full")
	// ErrUnavailable says that the store is away, or does not take writes. Its cause is wrapped beside it.
	ErrUnavailable = errors.New("session: store is unavailable")
	// ErrDeferred says that the store is away, and that the write is queued until it is back.
	ErrDeferred = errors.New("session: deferred until the store is back")
)

// Unavailable returns an error that is ErrUnavailable and wraps its cause.
func Unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// Lifetime returns the TTL in force: DefaultTTL if TTL is not set, and never outside of MinTTL and MaxTTL.
func (p Policy) Lifetime() time.Duration {
	if p.TTL <= 0 {
		return DefaultTTL
	}
	return ClampTTL(p.TTL)
}

// ClampTTL returns the TTL between MinTTL and MaxTTL that is closest to d.
func ClampTTL(d time.Duration) time.Duration { return min(max(d, MinTTL), MaxTTL) }

// Validate returns ErrTooLarge if the user, the parameters or the place exceed a limit.
func (a *Attach) Validate() error { return validate(a.User, a.Params, a.Place) }

// Validate returns ErrTooLarge if the session or its values exceed a limit, and ErrNotFound if the id cannot be one of
// the user's.
func (s *Saved) Validate() error {
	if err := validate(s.User, s.Params, s.Place); err != nil {
		return err
	}
	if !s.ID.MayBelongTo(s.User) {
		return fmt.Errorf("%w: the id is not one of this user's", ErrNotFound)
	}
	return validateValues(len(s.Values), size(s.Values))
}

// Validate returns ErrTooLarge if no store can take the changes, whatever values the session has.
func (c Changes) Validate() error {
	if len(c) > MaxChanges {
		return fmt.Errorf("%w: %d changes, the limit is %d", ErrTooLarge, len(c), MaxChanges)
	}
	return validateValues(len(c)/2, size(c))
}

// ValidateTicket returns ErrTooLarge if the value of a ticket exceeds its limit.
func ValidateTicket(value []byte) error {
	if len(value) > MaxTicketBytes {
		return fmt.Errorf("%w: a ticket of %d bytes, the limit is %d", ErrTooLarge, len(value), MaxTicketBytes)
	}
	return nil
}

func validate(user string, params map[string]string, place Place) error {
	switch n := size(params); {
	case len(user) > MaxUserBytes:
		return fmt.Errorf("%w: a user of %d bytes, the limit is %d", ErrTooLarge, len(user), MaxUserBytes)
	case len(params) > MaxParams:
		return fmt.Errorf("%w: %d parameters, the limit is %d", ErrTooLarge, len(params), MaxParams)
	case n > MaxParamBytes:
		return fmt.Errorf("%w: parameters of %d bytes, the limit is %d", ErrTooLarge, n, MaxParamBytes)
	case len(place.Node) > MaxNodeBytes:
		return fmt.Errorf("%w: a node of %d bytes, the limit is %d", ErrTooLarge, len(place.Node), MaxNodeBytes)
	}
	return nil
}

func validateValues(count, bytes int) error {
	if count > MaxValues || bytes > MaxValueBytes {
		return fmt.Errorf("%w: %d values of %d bytes, the limits are %d and %d",
			ErrTooLarge, count, bytes, MaxValues, MaxValueBytes)
	}
	return nil
}

// size returns the number of bytes in all keys and values.
func size[V string | []byte](values map[string]V) (n int) {
	for k, v := range values {
		n += len(k) + len(v)
	}
	return n
}

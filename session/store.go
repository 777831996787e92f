package session

import (
	"context"
	"time"
)

// Store keeps sessions, their values, and tickets. Package sessiontest tests whether an implementation fulfills this
// contract.
//
// All methods are safe for concurrent use. A context limits how long a method waits; the request may take effect even
// if the context ends first. Every method may fail with ErrUnavailable, whereupon the server carries on without the
// store. Each method divides requests for more than MaxBatch sessions into parts.
//
// Slices and maps that are passed to a method belong to the caller again when it returns. Those that a method returns
// belong to the caller, except for Session.Params, which nobody may modify.
type Store interface {
	// Attach resumes the session with the given id if it exists and has the same user, and creates a session otherwise.
	// It is atomic, and takes nothing from other connections: if the session has another connection, which keeps it for
	// now, or if the user has more sessions than the policy allows, Attached.Pending is set. It fails with
	// ErrTooManySessions, ErrTooLarge or ErrFull.
	Attach(ctx context.Context, a Attach) (Attached, error)
	// Claim completes an Attach that is pending. ID and Place are those of the attached session. It is atomic. It gives
	// the session to the connection, and deletes the other sessions of the user that Policy.Victims names, but at most
	// MaxBatch of them: Attached.Pending is set if there are more. A repeated Claim changes nothing. It fails with
	// ErrNotFound if the session no longer exists, or has another user.
	Claim(ctx context.Context, a Attach) (Attached, error)
	// Detach records that connections have ended. It ignores references to sessions that have another connection by
	// now, and to sessions that do not exist.
	Detach(ctx context.Context, refs []Ref) error
	// Discard is like Detach, for connections that ended right after their session was created: it deletes the sessions
	// that have no values.
	Discard(ctx context.Context, refs []Ref) error
	// Touch extends the life of sessions, whichever connection they have. It returns the references to sessions that do
	// not exist, which the caller may restore.
	Touch(ctx context.Context, refs []Ref) (lost []Ref, err error)
	// Restore stores sessions that the store has lost, or that were in another store. They keep their ids and times of
	// creation; Seen becomes the current time. Values that are not given stay as they are. Sessions that exist with
	// another connection or another user are left alone, and their ids are returned: those connections are newer.
	// Restore stops at the first session that fails, with ErrNotFound for an id that cannot be the user's, ErrTooLarge
	// or ErrFull.
	Restore(ctx context.Context, list []Saved) (superseded []ID, err error)

	// Load returns the values of a session: those with the given keys that exist, or all if no keys are given. It fails
	// with ErrNotFound.
	Load(ctx context.Context, id ID, keys ...string) (map[string][]byte, error)
	// Save sets and deletes values of a session, all or none. It fails with ErrNotFound, ErrTooLarge or ErrFull.
	Save(ctx context.Context, id ID, changes Changes) error

	// Find returns the sessions with the given ids, in the same order. It leaves out those that do not exist.
	Find(ctx context.Context, ids ...ID) ([]Session, error)
	// List returns a page of the sessions of a named user, the newest first; of sessions that
	// were created at the same time, the one with the larger ID first. It returns none for an anonymous user.
	List(ctx context.Context, user string, page Page) ([]Session, error)
	// Drop deletes sessions and returns those that existed. The caller closes their connections.
	Drop(ctx context.Context, ids ...ID) ([]Session, error)

	// PutTicket stores a value that can be taken once, within ttl. The key is a hash of the ticket. It fails with
	// ErrTooLarge or ErrFull.
	PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error
	// TakeTicket returns the value of a ticket and deletes it. If several callers try at once, one of them gets it. It
	// fails with ErrNotFound.
	TakeTicket(ctx context.Context, key [32]byte) ([]byte, error)

	// Close releases what the store uses, such as connections. It deletes no sessions.
	Close() error
}

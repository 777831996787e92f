package session

import (
	"errors"
	"fmt"
)

// Errors of a Store.
var (
	// ErrNotFound means that the session or the ticket does not exist, or has expired.
	ErrNotFound = errors.New("session: not found")
	// ErrTooManySessions means that the policy allows the user no further session.
	ErrTooManySessions = errors.New("session: too many sessions of this user")
	// ErrTooLarge means that a request exceeds a limit of this package.
	ErrTooLarge = errors.New("session: too large")
	// ErrFull means that the store is full.
	ErrFull = errors.New("session: store is full")
	// ErrUnavailable means that the store cannot be reached, or does not accept writes. The error also wraps the cause.
	ErrUnavailable = errors.New("session: store is unavailable")
	// ErrDeferred means that the store cannot be reached, and that the write is queued until it can. A Store that an
	// application provides never returns it.
	ErrDeferred = errors.New("session: deferred until the store is back")
)

// Unavailable returns an error that wraps both ErrUnavailable and its cause.
func Unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

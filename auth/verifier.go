package auth

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Verifier verifies tokens. Verify returns the Identity that a token names, which the caller then owns, or an
// *Error; any other error counts as ReasonUnavailable. It must be safe for concurrent use and may block until ctx ends.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Identity, error)
}

// VerifierFunc is a function that implements Verifier.
type VerifierFunc func(ctx context.Context, token string) (*Identity, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, token string) (*Identity, error) {
	return f(ctx, token)
}

// errNoAnswer is the cause if a Verifier returned neither an Identity nor an error.
var errNoAnswer = errors.New("a verifier returned neither an identity nor an error")

// Chain returns a Verifier that tries several in turn until one knows the token. It goes on to the next one only after
// an error that allows for that: ReasonUnknown, ReasonWrongIssuer, a JWT's error that the token is not a JWT or that it
// has no key for it, and ReasonUnavailable or ReasonOverloaded, because the token may belong to another Verifier. If
// none knows the token, the error is that of a Verifier that was unavailable, or else of one that reported a wrong
// issuer, or else the last one.
func Chain(vs ...Verifier) Verifier { return chain(slices.Clone(vs)) }

type chain []Verifier

// Verify tries the Verifiers in turn.
func (c chain) Verify(ctx context.Context, token string) (*Identity, error) {
	worst := refuse(ReasonUnknown, nil)
	for _, v := range c {
		id, err := v.Verify(ctx, token)
		if err == nil && id != nil {
			return id, nil
		}
		if err == nil {
			err = errNoAnswer
		}
		e := AsError(err)
		if !e.passes() {
			return nil, e
		}
		if e.rank() >= worst.rank() {
			worst = e
		}
	}
	return nil, worst
}

func (c chain) check() error {
	if len(c) == 0 {
		return errors.New("auth: an empty chain")
	}
	for _, v := range c {
		if err := Check(v); err != nil {
			return err
		}
	}
	return nil
}

// Check reports whether v is unusable: it is nil, a nil pointer, or contains such a Verifier or KeySource.
func Check(v Verifier) error {
	if isNil(v) {
		return fmt.Errorf("auth: a nil Verifier of type %T", v)
	}
	if c, ok := v.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// isNil reports whether v is nil, or holds a nil pointer or a nil function.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}

// passes reports whether the next Verifier of a chain should be tried.
func (e *Error) passes() bool { return e.foreign || e.rank() > 0 || e.Reason == ReasonUnknown }

// rank orders the errors of Verifiers that do not know a token.
func (e *Error) rank() int {
	switch e.Reason {
	case ReasonUnavailable, ReasonOverloaded:
		return 2
	case ReasonWrongIssuer:
		return 1
	default:
		return 0
	}
}

var (
	_ Verifier = VerifierFunc(nil)
	_ Verifier = chain(nil)
)

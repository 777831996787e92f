package auth

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Verifier finds out whose token it is. Any goroutine may call it; it may block until ctx ends. Its error is an *Error;
// any other counts as unavailable. The Identity belongs to the caller.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Identity, error)
}

// VerifierFunc is a function that is a Verifier.
type VerifierFunc func(ctx context.Context, token string) (*Identity, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, token string) (*Identity, error) {
	return f(ctx, token)
}

// errNoAnswer is the cause when a Verifier returned neither an Identity nor an error.
var errNoAnswer = errors.New("a verifier gave no answer")

// Chain asks one Verifier after the other until one knows the token. It goes on only behind an answer that says so: a
// reason of ReasonUnknown or ReasonWrongIssuer, a JWT's that the token is none, or that it has no key for it, and one
// that is unavailable, as the token may be another's. If nobody knows the token, the answer is unavailable if one of
// them was, else the wrong issuer if one said that, else the last one.
func Chain(vs ...Verifier) Verifier { return chain(slices.Clone(vs)) }

type chain []Verifier

// Verify is part of Verifier.
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
		return errors.New("auth: a chain of no Verifier")
	}
	for _, v := range c {
		if err := Check(v); err != nil {
			return err
		}
	}
	return nil
}

// Check reports why v would panic, or could never know a token: it is nil, a nil pointer, or made of such Verifiers.
func Check(v Verifier) error {
	if isNil(v) {
		return fmt.Errorf("auth: a nil Verifier of type %T", v)
	}
	if c, ok := v.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// isNil reports whether v is nil, or an interface that holds a nil pointer or function.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}

// passes says whether another Verifier may know better.
func (e *Error) passes() bool { return e.foreign || e.rank() > 0 || e.Reason == ReasonUnknown }

// rank orders the answers of those who do not know a token.
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

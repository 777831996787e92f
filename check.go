package expedite

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/expedite-go/expedite/auth"
)

// check reports what is wrong with the configuration and the endpoints: everything that would panic, or refuse every
// client, once clients come.
func (a *App) check() error {
	faults := append(slices.Clone(a.faults), a.cfg.Tuning.check(), a.cfg.Auth.check(), a.cfg.checkLimits())
	if a.cfg.WorkerOutput != nil && isNil(a.cfg.WorkerOutput) {
		faults = append(faults, fmt.Errorf("expedite: Config.WorkerOutput is a nil %T", a.cfg.WorkerOutput))
	}
	if isNil(a.http) {
		faults = append(faults, errors.New("expedite: App.HTTP was given no handler"))
	}
	for _, path := range slices.Sorted(maps.Keys(a.routes)) {
		e, ok := a.routes[path].Handler.(*endpoint)
		if ok {
			faults = append(faults, e.checkLimits(path))
		}
		if ok && e.Auth == AuthRequired && a.cfg.Auth.Verifier == nil {
			faults = append(faults, fmt.Errorf("expedite: the handler of %s has AuthRequired: %w", path, errNoVerifier))
		}
	}
	return errors.Join(faults...)
}

// errNoVerifier says that tokens are required of which none can be good.
var errNoVerifier = errors.New("without Config.Auth.Verifier nobody could come in")

// check reports a Verifier that cannot know any token, and one that is missing.
func (a *Auth) check() error {
	switch {
	case a.Verifier == nil && a.Mode == AuthRequired:
		return fmt.Errorf("expedite: Config.Auth.Mode is AuthRequired: %w", errNoVerifier)
	case a.Verifier != nil:
		if err := auth.Check(a.Verifier); err != nil {
			return fmt.Errorf("expedite: Config.Auth.Verifier: %w", err)
		}
	}
	return nil
}

// checkState reports why a handler's State cannot move; nil is none.
func checkState(s State) error {
	switch {
	case s == nil:
		return nil
	case isNil(s):
		return fmt.Errorf("expedite: Handler.State is a nil %T", s)
	default:
		return s.check()
	}
}

// isNil reports whether v is nil, or an interface that holds a nil pointer or function.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}

package expedite

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
)

// Who names connections. Exactly one field is set, beside Except.
type Who struct {
	User    string
	Session session.ID
	Conn    ID
	// TokenID is that of auth.Identity.
	TokenID string
	// Except is a connection that is not closed.
	Except ID
}

// target returns what w names.
func (w Who) target() registry.Target {
	return registry.Target{
		User: w.User, Session: w.Session, Conn: connid.ID(w.Conn), TokenID: w.TokenID, Except: connid.ID(w.Except),
	}
}

// Kick closes every connection that matches who, in all workers on all machines, with CloseKicked. If who names a
// session or a user, the sessions are deleted as well. Kick returns how many connections of this machine it closed. An
// error that is session.ErrUnavailable means that other machines were not told. It blocks until the workers have
// answered, and is safe for concurrent use.
func (a *App) Kick(ctx context.Context, who Who, reason string) (closed int, err error) {
	cmd, err := registry.Kick(who.target(), reason)
	if err != nil {
		return 0, publicError(err)
	}
	return a.command(ctx, cmd)
}

// DefaultRevocation is for how long App.Revoke denies by default.
const DefaultRevocation = registry.DefaultRevocation

// Revoke denies a user, a token or a session for a time, by which the token should have expired, and closes its
// connections with CloseUnauthorized, in all workers on all machines. 0 is DefaultRevocation. An error that is
// session.ErrUnavailable means that the revocation holds on this machine, and other machines learn of it as soon as
// Redis accepts it. Revoke blocks until the workers have answered, and is safe for concurrent use.
func (a *App) Revoke(ctx context.Context, who Who, d time.Duration) (closed int, err error) {
	cmd, err := registry.Revoke(who.target(), d)
	if err != nil {
		return 0, publicError(err)
	}
	return a.command(ctx, cmd)
}

// command has the registry carry out a command. A warning becomes an error, if there is no other one.
func (a *App) command(ctx context.Context, cmd registry.Command) (closed int, err error) {
	var done registry.Done
	switch r := a.role.Load(); {
	case r == nil:
		return 0, ErrNotRunning
	case r.control != nil:
		done, err = r.control.Registry().Command(ctx, cmd)
	default:
		done, err = r.worker.Registry().Command(ctx, cmd)
	}
	if err == nil && done.Warning != "" {
		err = fmt.Errorf("%w: %s", session.ErrUnavailable, done.Warning)
	}
	return done.Closed, err
}

package expedite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
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

// errWho reports a Who that names nothing, or too much.
var errWho = errors.New("expedite: want one of a user, a session, a connection and a token id")

// order returns the order to close the connections that match w.
func (w Who) order(code ws.CloseCode, reason string) (registry.Order, error) {
	o := registry.Order{Except: connid.ID(w.Except), Code: uint16(code), Reason: reason}
	named := 0
	set := func(kind, value string, is bool) {
		if is {
			named++
			o.Kind, o.Value = kind, value
		}
	}
	set(string(denylist.User), w.User, w.User != "")
	set(string(denylist.Session), w.Session.String(), !w.Session.IsZero())
	set(string(denylist.Token), w.TokenID, w.TokenID != "")
	set(registry.KindConnection, w.Conn.String(), w.Conn != 0)
	if named != 1 {
		return o, errWho
	}
	return o, ws.CheckClose(code, reason)
}

// Kick closes every connection that matches who, in all workers on all machines, with CloseKicked. If who names a
// session or a user, the sessions are deleted as well. Kick returns how many connections of this machine it closed. An
// error that is session.ErrUnavailable means that other machines were not told. It blocks until the workers have
// answered, and is safe for concurrent use.
func (a *App) Kick(ctx context.Context, who Who, reason string) (closed int, err error) {
	r, err := a.kick(ctx, who, reason)
	return r.Closed, warning(r, err)
}

// kick returns the warning apart from the error.
func (a *App) kick(ctx context.Context, who Who, reason string) (registry.Done, error) {
	o, err := who.order(CloseKicked, reason)
	if err != nil {
		return registry.Done{}, publicError(err)
	}
	return a.command(ctx, registry.Command{Order: o, Drop: true})
}

// warning returns an error for the warning of a command, if there is no other error.
func warning(d registry.Done, err error) error {
	if err == nil && d.Warning != "" {
		err = fmt.Errorf("%w: %s", session.ErrUnavailable, d.Warning)
	}
	return err
}

// DefaultRevocation is for how long App.Revoke denies by default.
const DefaultRevocation = 24 * time.Hour

// Revoke denies a user, a token or a session for a time, by which the token should have expired, and closes its
// connections with CloseUnauthorized, in all workers on all machines. 0 is DefaultRevocation. An error that is
// session.ErrUnavailable means that the revocation holds on this machine, and other machines learn of it as soon as
// Redis accepts it. Revoke blocks until the workers have answered, and is safe for concurrent use.
func (a *App) Revoke(ctx context.Context, who Who, d time.Duration) (closed int, err error) {
	r, _, err := a.revoke(ctx, who, d)
	return r.Closed, warning(r, err)
}

// revoke returns the warning apart from the error, and until when the revocation holds.
func (a *App) revoke(ctx context.Context, who Who, d time.Duration) (registry.Done, time.Time, error) {
	o, err := who.order(CloseUnauthorized, registry.RevokedReason)
	if err == nil && who.Conn != 0 {
		err = fmt.Errorf("%w: a connection cannot be revoked", errWho)
	}
	if err != nil {
		return registry.Done{}, time.Time{}, publicError(err)
	}
	if d <= 0 {
		d = DefaultRevocation
	}
	// The deny list counts in seconds.
	o.Until = time.Now().Add(d + time.Second - 1).Truncate(time.Second)
	r, err := a.command(ctx, registry.Command{Order: o, Drop: who.Session != session.ID{}})
	return r, o.Until, err
}

// command has the registry carry out a command.
func (a *App) command(ctx context.Context, c registry.Command) (registry.Done, error) {
	switch r := a.role.Load(); {
	case r == nil:
		return registry.Done{}, ErrNotRunning
	case r.desk != nil:
		return r.desk.registry.Command(ctx, c)
	default:
		return r.worker.Registry().Command(ctx, c)
	}
}

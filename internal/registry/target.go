package registry

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/session"
)

// Target names the connections that a command closes: exactly one field is set, beside Except.
type Target struct {
	User    string
	Session session.ID
	Conn    connid.ID
	TokenID string
	Except  connid.ID // a connection that stays
}

// ErrTarget reports a Target with no field or too many set, or one that the command does not take.
var ErrTarget = errors.New("expedite: want one of a user, a session, a connection and a token id")

// DefaultRevocation is the time for which Revoke denies if it is given none.
const DefaultRevocation = 24 * time.Hour

// Kick returns the command that closes the connections of t and deletes their sessions.
func Kick(t Target, reason string) (Command, error) {
	o, err := t.order(CodeKicked, reason)
	return Command{Order: o, Drop: true}, err
}

// Revoke returns the command that closes the connections of t and denies its user, session or token for a time. If d is
// 0 or less, that is DefaultRevocation.
func Revoke(t Target, d time.Duration) (Command, error) {
	if t.Conn != 0 {
		return Command{}, fmt.Errorf("%w: a connection cannot be revoked", ErrTarget)
	}
	o, err := t.order(CodeRevoked, RevokedReason)
	if d <= 0 {
		d = DefaultRevocation
	}
	o.Until = time.Now().Add(d + time.Second - 1).Truncate(time.Second) // the deny list counts in seconds
	return Command{Order: o, Drop: !t.Session.IsZero()}, err
}

// order returns the order to close the connections of t.
func (t Target) order(code uint16, reason string) (Order, error) {
	o := Order{Except: t.Except, Code: code, Reason: reason}
	named := 0
	set := func(kind, value string, is bool) {
		if is {
			named++
			o.Kind, o.Value = kind, value
		}
	}
	set(string(denylist.User), t.User, t.User != "")
	set(string(denylist.Session), t.Session.String(), !t.Session.IsZero())
	set(string(denylist.Token), t.TokenID, t.TokenID != "")
	set(KindConnection, t.Conn.String(), t.Conn != 0)
	if named != 1 {
		return o, ErrTarget
	}
	if len(reason) > maxReason || !utf8.ValidString(reason) {
		return o, ErrReason
	}
	return o, nil
}

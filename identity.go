package expedite

import (
	"errors"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/engine"
)

// AuthMode tells whether clients have to identify themselves.
type AuthMode uint8

// The modes. All but AuthOff refuse a client whose token is not valid.
const (
	// AuthDefault is the mode of Config in a Handler. In Config it is AuthOptional with a verifier, and AuthOff without.
	AuthDefault AuthMode = iota
	// AuthOff ignores tokens.
	AuthOff
	// AuthOptional admits clients without a token: they are anonymous.
	AuthOptional
	// AuthRequired refuses clients without a token.
	AuthRequired
)

// String returns the mode in one word.
func (m AuthMode) String() string { return [...]string{"default", "off", "optional", "required"}[m&3] }

// Auth tells how clients identify themselves. The zero value works.
type Auth struct {
	// Mode tells whether they have to.
	Mode AuthMode
	// Verifier verifies tokens. It is called on goroutines and may block. Nil accepts no token.
	Verifier auth.Verifier
	// Extractor tells where the token is in a request.
	Extractor auth.Extractor
	// Origins are the origins whose pages may connect, in addition to pages of the same host. Clients other than browsers
	// send no origin, and may connect. Origins apply in every mode.
	Origins auth.Origins
	// Permit allows or denies Conn.Subscribe and Conn.Publish. Nil allows all.
	Permit auth.Permit
	// TicketTTL is how long a ticket is valid. 0 is 30 s.
	TicketTTL time.Duration
	// MaxDenials is the number of revocations that are in force at once. 0 is 100,000.
	MaxDenials int
}

// mode returns the mode in force.
func (a *Auth) mode() AuthMode {
	switch {
	case a.Mode != AuthDefault:
		return a.Mode
	case a.Verifier != nil:
		return AuthOptional
	default:
		return AuthOff
	}
}

// Identity returns a copy of the client's identity, from its token and Authorize; nil if the client is anonymous.
func (c *Conn) Identity() *auth.Identity { return c.client.Identity() }

// User returns the user of the client's identity; empty if the client is anonymous.
func (c *Conn) User() string { return c.client.User() }

// ErrSubject reports a token of another user.
var ErrSubject = errors.New("expedite: the token belongs to another user")

// ErrForbidden reports what Auth.Permit does not permit.
var ErrForbidden = errors.New("expedite: not permitted")

// Refresh extends the connection with a new token of the same user. The connection takes on the new token's identity,
// unless the handler has an Authorize: then it keeps the identity that Authorize accepted, and only expiry, token id
// and issuer change. If Authorize changed the user, the token must name the new user. Refresh fails with an *auth.Error
// if the token is not valid, and with ErrSubject if it names another user; ErrClosed and ErrMoved tell that the
// connection is no longer here. Refresh blocks for as long as Auth.Verifier does, so an Inline handler calls it on a
// goroutine; there, nil means only that the extension was requested.
func (c *Conn) Refresh(token string) error {
	if c.end.app.cfg.Auth.Verifier == nil {
		return ErrNotRunning
	}
	h := c.end.handler
	err := c.end.worker.Admission().Refresh(&c.client, token, h.Authorize != nil, h.Inline)
	switch {
	case errors.Is(err, access.ErrEnded), errors.Is(err, engine.ErrClosed):
		return ErrClosed
	case errors.Is(err, engine.ErrMoved):
		return ErrMoved
	case errors.Is(err, access.ErrSubject):
		return ErrSubject
	}
	return err
}

// permits reports whether Auth.Permit allows an action.
func (c *Conn) permits(a auth.Action, topic string) bool {
	p := c.end.app.cfg.Auth.Permit
	return p == nil || p(c.Identity(), a, topic)
}

// LogValue returns what a log line shows of the connection: conn, session, user, remote, path, and the client's
// parameters that Config names.
func (c *Conn) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// Log returns a logger whose lines show of the connection what LogValue does. It is made for the caller: do not keep
// one for each connection.
func (c *Conn) Log() *slog.Logger {
	return slog.New(c.end.app.Logger().Handler().WithAttrs(c.attrs()))
}

func (c *Conn) attrs() []slog.Attr { return c.client.LogAttrs(c.end.Path, &c.end.worker.Params) }

// CloseUnauthorized is the close code of a connection whose token has expired or was revoked. The client needs a new
// one.
const CloseUnauthorized = engine.CloseExpired

var _ slog.LogValuer = (*Conn)(nil)

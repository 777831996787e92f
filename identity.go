package expedite

import (
	"errors"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/engine"
)

// AuthMode says whether clients have to say who they are.
type AuthMode uint8

// The modes. A token that is not good is refused in all but AuthOff.
const (
	// AuthDefault is, in a Handler, that of Config; there AuthOptional if there is a verifier, and AuthOff if not.
	AuthDefault AuthMode = iota
	// AuthOff looks at no token.
	AuthOff
	// AuthOptional lets clients in that bring no token: they are anonymous.
	AuthOptional
	// AuthRequired refuses clients that bring no token.
	AuthRequired
)

// String is the mode in one word.
func (m AuthMode) String() string { return [...]string{"default", "off", "optional", "required"}[m&3] }

// Auth is how clients identify themselves. Every field may be zero.
type Auth struct {
	// Mode says whether they have to.
	Mode AuthMode
	// Verifier tells whose a token is. It is called on goroutines and may block. Nil knows no token.
	Verifier auth.Verifier
	// Extractor says where a token is looked for.
	Extractor auth.Extractor
	// Origins are the origins of pages that may connect, beside those of the same host. Clients that are no browsers
	// send none, and may. It holds in every mode.
	Origins auth.Origins
	// Permit decides about Conn.Subscribe and Conn.Publish. Nil permits all.
	Permit auth.Permit
	// TicketTTL is how long a ticket is good. 0 is 30 s.
	TicketTTL time.Duration
	// MaxDenials is the number of revocations that are in force at once. 0 is 100,000.
	MaxDenials int
}

// mode is the one in force.
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

// Identity returns a copy of the client's identity, as its token and Authorize have told it; nil if it is anonymous.
func (c *Conn) Identity() *auth.Identity { return c.client.Identity() }

// User returns the user of the client's identity; empty if it is anonymous.
func (c *Conn) User() string { return c.client.User() }

// ErrSubject reports a token of another user.
var ErrSubject = errors.New("expedite: the token belongs to another user")

// ErrForbidden reports what Auth.Permit does not permit.
var ErrForbidden = errors.New("expedite: not permitted")

// Refresh extends the connection with a new token of the same user. The connection takes on the new token's identity,
// unless the handler has an Authorize: then it keeps the identity that Authorize accepted, and only expiry, token id
// and issuer change. A user whom Authorize has renamed is not that of the token. Refresh fails with an *auth.Error if
// the token is not valid, with ErrSubject, ErrClosed or ErrMoved. It may block as Auth.Verifier does: an Inline handler
// calls it on a goroutine, and nil means for it that the extension was requested.
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

// permits says whether the client may.
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

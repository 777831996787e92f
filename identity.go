package expedite

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/session"
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

const defaultTicketTTL = 30 * time.Second

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

// client is who is at the other end of a Conn, as it stands at one time: it is replaced and never changed. A Conn has
// none if there is nothing to know.
type client struct {
	user    string // part of ident
	ident   string // of auth.Identity.Append; empty is anonymous
	headers string // of Config.LogHeaders, as a query
	session session.ID
	resumed bool
	begun   *begun // until the connection opens; nil if there is nothing to do
	since   int64  // when its handshake began, on the loop's clock; 0 when it is open
}

// newClient makes the record of an identity.
func newClient(id *auth.Identity) *client {
	w := new(client)
	w.identify(id)
	return w
}

// identify sets who it is.
func (w *client) identify(id *auth.Identity) {
	w.user, w.ident = "", ""
	if id.User != "" {
		w.ident = string(identity.Append(nil, id))
		w.user = identity.UserOf(w.ident)
	}
}

// empty says that there is nothing to know.
func (w *client) empty() bool { return w.ident == "" && w.headers == "" && w.session.IsZero() }

// identity is who it is in full; nil if it is anonymous.
func (w *client) identity() *auth.Identity {
	if w == nil || w.ident == "" {
		return nil
	}
	id, err := identity.Parse([]byte(w.ident))
	if err != nil { // it was made or checked here
		return &auth.Identity{User: w.user}
	}
	return &id
}

// sessionID is the session's id; zero if there is none.
func (w *client) sessionID() session.ID {
	if w == nil {
		return session.ID{}
	}
	return w.session
}

// Identity is who the client is, as its token and Authorize have said; nil if it is anonymous. It is made for the
// caller.
func (c *Conn) Identity() *auth.Identity { return c.who.Load().identity() }

// User is the user that the token or Authorize has named, or empty.
func (c *Conn) User() string {
	if w := c.who.Load(); w != nil {
		return w.user
	}
	return ""
}

// ErrSubject says that a token is not one of the same user.
var ErrSubject = errors.New("expedite: the token is another user's")

// ErrForbidden says that Auth.Permit has said no.
var ErrForbidden = errors.New("expedite: not permitted")

// Refresh gives the connection a new token of the same user: it lives on until that one expires, and is who the token
// says. Where the handler has an Authorize, it stays who that has let in, scopes and claims included, and only expiry,
// token id and issuer are the new token's; a user whom Authorize has renamed is not the token's. It fails with an
// *auth.Error if the token is not good, with ErrSubject, ErrClosed or ErrMoved; for an Inline handler nil says that
// it was asked for. It may block as Auth.Verifier does: an Inline handler calls it on a goroutine.
func (c *Conn) Refresh(token string) error {
	n := c.end.app.node.Load()
	verifier := c.end.app.cfg.Auth.Verifier
	if n == nil || verifier == nil {
		return ErrNotRunning
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.gate.patience)
	defer cancel()
	id, err := verifier.Verify(ctx, token)
	if err != nil {
		return err
	}
	old := c.who.Load()
	if old == nil || old.user == "" || id.User != old.user {
		return ErrSubject
	}
	if err := n.gate.denied(id.User, id.TokenID, old.session); err != nil {
		return err
	}
	next := *old
	next.identify(refreshed(old.identity(), id, c.end.Authorize != nil))
	result := make(chan error, 1)
	if !c.conn.Extend(deadlineOf(id), func(err error) {
		if err == nil {
			c.who.Store(&next)
			n.orders.recheck(c) // it may have been revoked since
		}
		result <- err
	}) {
		return ErrClosed
	}
	if c.end.Inline { // the loop must not wait for itself
		return nil
	}
	select {
	case err := <-result:
		return publicError(err)
	case <-ctx.Done():
		return ErrClosed
	}
}

// refreshed is who a client is that was somebody, and has a new token.
func refreshed(was, token *auth.Identity, authorized bool) *auth.Identity {
	next := *token
	if authorized {
		next = *was
		next.Expiry, next.Leeway = token.Expiry, token.Leeway
		next.TokenID, next.Issuer = token.TokenID, token.Issuer
	}
	next.Source = was.Source
	return &next
}

// deadlineOf is the loop's time of the end of id's token.
func deadlineOf(id *auth.Identity) int64 {
	end := id.End()
	if end.IsZero() {
		return 0
	}
	return max(reactor.Monotonic()+int64(clamp(time.Until(end))), 1)
}

// permits says whether the client may.
func (c *Conn) permits(a auth.Action, topic string) bool {
	p := c.end.app.cfg.Auth.Permit
	return p == nil || p(c.Identity(), a, topic)
}

// LogValue is what a log line says of the connection: conn, session, user, remote, path, and the client's parameters
// that Config names.
func (c *Conn) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// Log is a logger whose lines tell of the connection what LogValue does. It is made for the caller: keep none.
func (c *Conn) Log() *slog.Logger {
	return slog.New(c.end.app.Logger().Handler().WithAttrs(c.attrs()))
}

func (c *Conn) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("conn", c.ID().String()))
	w := c.who.Load()
	if w != nil && !w.session.IsZero() {
		attrs = append(attrs, slog.String("session", w.session.Short()))
	}
	if w != nil && w.user != "" {
		attrs = append(attrs, slog.String("user", w.user))
	}
	attrs = append(attrs, slog.String("remote", c.Remote().String()), slog.String("path", c.Path()))
	cfg := &c.end.app.cfg
	if len(cfg.LogQuery) > 0 && c.query != "" {
		attrs = c.end.app.appendParams(attrs, c.Query(), cfg.LogQuery)
	}
	if w != nil && w.headers != "" {
		if v, err := url.ParseQuery(w.headers); err == nil {
			attrs = c.end.app.appendParams(attrs, v, cfg.LogHeaders)
		}
	}
	return attrs
}

func (a *App) appendParams(attrs []slog.Attr, from url.Values, names []string) []slog.Attr {
	for _, name := range names {
		if v := a.hide.Shown(name, from.Get(name)); v != "" {
			attrs = append(attrs, slog.String(name, v))
		}
	}
	return attrs
}

// CloseUnauthorized is the close code of a connection whose token has expired or was revoked. The client needs a new
// one.
const CloseUnauthorized = engine.CloseExpired

var _ slog.LogValuer = (*Conn)(nil)

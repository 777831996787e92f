package access

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/route"
	"github.com/expedite-go/expedite/internal/urlquery"
	"github.com/expedite-go/expedite/session"
)

// Mode tells whether clients have to identify themselves. The values are those of expedite.AuthMode.
type Mode uint8

// The modes. The zero Mode is none of them: an endpoint with it has the mode of its Admission.
const (
	Off Mode = iota + 1
	Optional
	Required
)

// Endpoint is what an endpoint asks of its clients.
type Endpoint struct {
	// Path is the text of Pattern.
	Path    string
	Pattern *route.Pattern
	// Subprotocols are those that the endpoint speaks.
	Subprotocols []string
	Mode         Mode
	// Authorize is the application's own check. It may block. Nil admits.
	Authorize func(r *http.Request, id *auth.Identity) error
	// Session gives each client a session.
	Session bool
	// MaxPerUser is the number of connections of one user in this worker. 0 is no limit.
	MaxPerUser int
	// PublishLimited tells that the publications of each connection are limited.
	PublishLimited bool
}

// AdmissionConfig configures an Admission.
type AdmissionConfig struct {
	Mode      Mode // Off, Optional or Required
	Verifier  auth.Verifier
	Extractor auth.Extractor
	Origins   auth.Origins
	// TicketTTL is how long a ticket is valid. 0 is 30 s.
	TicketTTL time.Duration
	// Timeout bounds the verification of a token. 0 is 10 s.
	Timeout time.Duration
	// MaxTickets is the number of requests for tickets at once. 0 is engine.DefaultMaxAuthorizing.
	MaxTickets int
	// Cookie is the name of the cookie that holds the session to resume. Empty is none.
	Cookie  string
	Params  *Params
	Deny    *denylist.List
	Tracker *Tracker
	Orders  *Orders
}

// Admission decides who is admitted.
type Admission struct {
	AdmissionConfig

	origins        atomic.Pointer[auth.Origins]
	tickets        atomic.Int64 // requests that are being answered
	refusedTickets atomic.Uint64

	mu      sync.Mutex
	refused map[string]uint64 // by reason
}

const (
	defaultTicketTTL = 30 * time.Second
	defaultTimeout   = 10 * time.Second
	// sessionParameter is the parameter of the query that names the session to resume.
	sessionParameter = "session"
)

// NewAdmission returns an Admission.
func NewAdmission(c AdmissionConfig) *Admission {
	if c.TicketTTL == 0 {
		c.TicketTTL = defaultTicketTTL
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxTickets == 0 {
		c.MaxTickets = engine.DefaultMaxAuthorizing
	}
	a := &Admission{AdmissionConfig: c, refused: make(map[string]uint64)}
	a.SetOrigins(c.Origins)
	return a
}

// SetOrigins changes the origins of pages that may connect.
func (a *Admission) SetOrigins(o auth.Origins) { a.origins.Store(&o) }

// allowed returns the origins of pages that may connect.
func (a *Admission) allowed() auth.Origins { return *a.origins.Load() }

// Admit admits the client of a handshake, or returns why not: see Refuse. It may block, unless the endpoint asks
// nothing of its clients.
func (a *Admission) Admit(ctx context.Context, e *Endpoint, u *engine.Upgrade, c *Client) error {
	mode := e.Mode
	if mode == 0 {
		mode = a.Mode
	}
	c.describe(e, u)
	c.Ready(e)
	if mode == Off && e.Authorize == nil && !e.Session && len(a.Params.Headers) == 0 && u.Request.Get("Origin") == "" {
		return nil
	}
	r := httpRequest(ctx, u)
	c.setPathValues(e, r)
	if !a.allowed().Allows(r) {
		return &auth.Error{
			Reason:  auth.ReasonOrigin,
			Message: "pages of this origin may not connect: it is not among the origins that this server allows",
		}
	}
	d := &details{since: reactor.Monotonic(), headers: a.headers(r)}
	if a.Tracker.Blind() { // before a ticket is taken: it is valid once
		return &auth.Error{Reason: auth.ReasonUnavailable, Message: "it is not known now which tokens were revoked"}
	}
	wanted := a.wantedSession(r)
	id, err := a.identify(ctx, a.Extractor, mode, r)
	if err != nil {
		return err
	}
	if mode != Off {
		a.Extractor.Strip(r)
		c.Query = r.URL.RawQuery
	}
	if err := a.denied(id.User, id.TokenID, wanted); err != nil {
		return &ofUser{err, id.User}
	}
	if err := a.authorize(e, r, id, d); err != nil {
		return &ofUser{err, id.User}
	}
	if e.MaxPerUser > 0 && d.user != "" && a.Tracker.Engine.Members(UserTopic(d.user)) >= e.MaxPerUser {
		a.Tracker.Engine.CountPerUser()
		he := Refused(http.StatusTooManyRequests, "too_many_connections", reasonConnections)
		return &ofUser{&limited{he, reasonPerUser}, d.user}
	}
	if e.Session {
		c.Query = urlquery.Strip(c.Query, sessionParameter)
		if err := a.Tracker.attach(ctx, d, wanted, u.ID, a.params(r)); err != nil {
			return &ofUser{err, d.user}
		}
		u.Dropped = func() { a.Tracker.dropped(d, u.ID) }
		a.Tracker.resumed(ctx, c, d)
	}
	if !d.empty() {
		c.details.Store(d)
	}
	u.Conn.SetExpiry(deadlineOf(id))
	return nil
}

const reasonConnections = "this user has as many connections as allowed"

// Join makes an open connection one of its user's, or closes it if the user has as many as allowed: several may have
// been admitted at once.
func (a *Admission) Join(e *Endpoint, c *Client) {
	user := c.User()
	if user == "" || c.Conn.Join(UserTopic(user), e.MaxPerUser) {
		return
	}
	a.Tracker.Engine.CountPerUser()
	_ = c.Conn.Close(CodeTooMany, reasonConnections) // it may have ended meanwhile
}

// authorize asks the application, which may change the identity.
func (a *Admission) authorize(e *Endpoint, r *http.Request, id *auth.Identity, d *details) error {
	user := id.User
	id.Certificate = certificateOf(r)
	if e.Authorize != nil {
		if err := e.Authorize(r, id); err != nil {
			return err
		}
	}
	if d.identify(id); d.user != user { // the application has named another one
		if err := a.denied(d.user, "", session.ID{}); err != nil {
			return err
		}
	}
	if end := id.End(); !end.IsZero() && !time.Now().Before(end) {
		return &auth.Error{Reason: auth.ReasonExpired, Message: "the access token expired during authorization"}
	}
	return nil
}

// certificateOf returns the subject of the certificate that the peer has presented, or "".
func certificateOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.String()
}

// identify returns the identity of the client's token, an empty one without a token.
func (a *Admission) identify(
	ctx context.Context, from auth.Extractor, mode Mode, r *http.Request,
) (*auth.Identity, error) {
	if mode == Off {
		return new(auth.Identity), nil
	}
	cred, err := from.Extract(r, a.allowed())
	switch {
	case err != nil:
		return nil, err
	case cred.Token == "" && mode == Required:
		return nil, &auth.Error{Reason: auth.ReasonMissing, Message: "an access token is required"}
	case cred.Token == "":
		return new(auth.Identity), nil
	case cred.Source == auth.SourceTicket:
		return a.redeem(ctx, cred.Token)
	case a.Verifier == nil:
		return nil, &auth.Error{Reason: auth.ReasonUnknown, Message: "this server accepts no tokens"}
	}
	id, err := a.Verifier.Verify(ctx, cred.Token)
	if err != nil {
		return nil, err
	}
	own := *id // the verifier may keep its own
	own.Source = cred.Source
	return &own, nil
}

// denied returns an error if the deny list has the user, the token or the session.
func (a *Admission) denied(user, tokenID string, id session.ID) error {
	if kind, denied := denies(a.Deny, user, tokenID, id); denied {
		return &auth.Error{Reason: auth.ReasonRevoked, Message: "the " + string(kind) + " was revoked"}
	}
	return nil
}

func denies(list *denylist.List, user, tokenID string, id session.ID) (denylist.Kind, bool) {
	name := ""
	if !id.IsZero() {
		name = id.String()
	}
	return list.Denies(user, tokenID, name, time.Now())
}

// wantedSession returns the session that the client wants to resume: that of the query or, on pages of allowed origins,
// of the cookie. Anything that is not an id counts as none.
func (a *Admission) wantedSession(r *http.Request) session.ID {
	name := r.URL.Query().Get(sessionParameter)
	if name == "" && a.Cookie != "" && a.allowed().Matches(r) {
		if c, err := r.Cookie(a.Cookie); err == nil {
			name = c.Value
		}
	}
	id, err := session.ParseID(name)
	if err != nil {
		return session.ID{}
	}
	return id
}

// headers returns the header fields that are logged, as a query.
func (a *Admission) headers(r *http.Request) (query string) {
	for _, name := range a.Params.Headers {
		if v := a.Params.Hide.Shown(name, r.Header.Get(name)); v != "" {
			query += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(v)
		}
	}
	return query
}

// params returns what a session keeps of its client: the parameters that are logged.
func (a *Admission) params(r *http.Request) map[string]string {
	params := make(map[string]string)
	query := r.URL.Query()
	for _, name := range a.Params.Query {
		if v := a.Params.Hide.Shown(name, query.Get(name)); v != "" {
			params[name] = v
		}
	}
	for _, name := range a.Params.Headers {
		if v := a.Params.Hide.Shown(name, r.Header.Get(name)); v != "" {
			params[name] = v
		}
	}
	if len(params) == 0 {
		return nil
	}
	return params
}

// Opened applies to a connection that has just opened what was ordered while it was opening, and closes those that it
// replaces. On the loop, or on a goroutine of the connection.
func (a *Admission) Opened(c *Client) {
	c.silent.Store(max(seconds(), 1))
	a.Orders.Opened(c)
	a.Tracker.Opened(c)
}

// KeysMissing reports that no token can be verified, because a provider has not sent its keys yet.
func (a *Admission) KeysMissing() bool {
	return a.Verifier != nil && a.Mode != Off && auth.Ready(a.Verifier) != nil
}

// count counts a refusal.
func (a *Admission) count(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[reason]++
}

// Refused returns the number of refusals by reason.
func (a *Admission) Refused() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.refused)
}

// RefusedTickets returns the number of requests for tickets that were too many at once.
func (a *Admission) RefusedTickets() uint64 { return a.refusedTickets.Load() }

// Errors of Refresh.
var (
	// ErrSubject reports a token of another user.
	ErrSubject = errors.New("access: the token belongs to another user")
	// ErrEnded reports that the connection has ended, or did not take the token in time.
	ErrEnded = errors.New("access: connection closed")
)

// Refresh extends a connection with a new token of the same user. With authorized, the connection keeps the identity
// that Authorize accepted, and only expiry, token id and issuer change. Refresh blocks until the connection has taken
// the token, unless inline is set: then the caller may be the event loop.
func (a *Admission) Refresh(c *Client, token string, authorized, inline bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	id, err := a.Verifier.Verify(ctx, token)
	if err != nil {
		return err
	}
	old := c.details.Load()
	if old == nil || old.user == "" || id.User != old.user {
		return ErrSubject
	}
	if err := a.denied(id.User, id.TokenID, old.session); err != nil {
		return err
	}
	next := *old
	next.identify(refreshed(old.full(), id, authorized))
	result := make(chan error, 1)
	if !c.Conn.Extend(deadlineOf(id), func(err error) {
		if err == nil {
			c.details.Store(&next)
			a.Orders.recheck(c) // it may have been revoked meanwhile
		}
		result <- err
	}) {
		return ErrEnded
	}
	if inline { // the loop must not wait for itself
		return nil
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ErrEnded
	}
}

// refreshed returns the identity of a client that has a new token.
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

// deadlineOf returns the time on the loop's clock at which an identity ends; 0 is never.
func deadlineOf(id *auth.Identity) int64 {
	end := id.End()
	if end.IsZero() {
		return 0
	}
	return max(reactor.Monotonic()+int64(min(time.Until(end), maxWait)), 1)
}

// maxWait is the longest time that the loop's clock is asked to measure.
const maxWait = 100 * 365 * 24 * time.Hour

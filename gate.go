package expedite

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/urlquery"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// gate decides who is let in, before the upgrade: origin, token, deny list, the application's Authorize, session. Its
// methods are for any goroutine.
type gate struct {
	auth     Auth
	deny     *denylist.List
	keeper   *keeper
	patience time.Duration // for verifiers
	headers  []string      // that are kept for log lines
	cookie   string        // of the session
	hide     *telemetry.Secrets

	maxTickets     int64        // requests for tickets at once
	tickets        atomic.Int64 // those that are being answered
	ticketsRefused atomic.Uint64

	mu      sync.Mutex
	refused map[string]uint64 // by reason
}

const defaultHandshakeTimeout = 10 * time.Second

func (a *App) newGate() *gate {
	g := &gate{
		auth: a.cfg.Auth, patience: a.cfg.HandshakeTimeout, headers: a.cfg.LogHeaders, cookie: a.cfg.Sessions.Cookie,
		hide: a.hide,
		deny: &denylist.List{Max: a.cfg.Auth.MaxDenials}, refused: make(map[string]uint64),
	}
	if g.maxTickets = int64(a.cfg.MaxAuthorizing); g.maxTickets == 0 {
		g.maxTickets = engine.DefaultMaxAuthorizing
	}
	if g.patience == 0 {
		g.patience = defaultHandshakeTimeout
	}
	if g.auth.TicketTTL == 0 {
		g.auth.TicketTTL = defaultTicketTTL
	}
	return g
}

// sessionParameter is the query's word for the session to resume.
const sessionParameter = "session"

// admit lets a client in, as c, or says why not. It may block, unless the route is one that has nothing to ask.
func (g *gate) admit(ctx context.Context, e *endpoint, u *engine.Upgrade, c *Conn) error {
	mode := e.authMode()
	if mode == AuthOff && e.Authorize == nil && !e.Session && len(g.headers) == 0 && u.Request.Get("Origin") == "" {
		return nil // nothing to ask
	}
	r := httpRequest(ctx, u)
	if !g.auth.Origins.Allows(r) {
		return &auth.Error{
			Reason:  auth.ReasonOrigin,
			Message: "pages of this origin may not connect: it is not among the origins that this server allows",
		}
	}
	w := &client{since: reactor.Monotonic()}
	for _, name := range g.headers {
		if v := g.hide.Shown(name, r.Header.Get(name)); v != "" {
			w.headers += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(v)
		}
	}
	if g.keeper.blind() { // before a ticket is taken, which is good once
		return &auth.Error{Reason: auth.ReasonUnavailable, Message: "it is not known now which tokens were revoked"}
	}
	wanted := g.wantedSession(r)
	id, err := g.identify(ctx, g.auth.Extractor, mode, r)
	if err != nil {
		return err
	}
	if mode != AuthOff {
		g.auth.Extractor.Strip(r)
		c.query = r.URL.RawQuery
	}
	if err := g.denied(id.User, id.TokenID, wanted); err != nil {
		return err
	}
	user := id.User
	if e.Authorize != nil {
		if err := e.Authorize(r, id); err != nil {
			return err
		}
	}
	if w.identify(id); w.user != user { // the application has named another one
		if err := g.denied(w.user, "", session.ID{}); err != nil {
			return err
		}
	}
	if end := id.End(); !end.IsZero() && !time.Now().Before(end) {
		return &auth.Error{Reason: auth.ReasonExpired, Message: "the access token expired while it was asked about"}
	}
	if e.Session {
		c.query = urlquery.Strip(c.query, sessionParameter)
		if err := g.keeper.attach(ctx, w, wanted, u, g.params(r)); err != nil {
			return err
		}
		u.Dropped = func() { g.keeper.dropped(w, u.ID) }
	}
	if !w.empty() {
		c.who.Store(w)
	}
	u.Conn.SetExpiry(deadlineOf(id))
	return nil
}

// identify finds out whose the client's token is. Without one it is nobody's.
func (g *gate) identify(
	ctx context.Context, from auth.Extractor, mode AuthMode, r *http.Request,
) (*auth.Identity, error) {
	if mode == AuthOff {
		return new(auth.Identity), nil
	}
	cred, err := from.Extract(r, g.auth.Origins)
	switch {
	case err != nil:
		return nil, err
	case cred.Token == "" && mode == AuthRequired:
		return nil, &auth.Error{Reason: auth.ReasonMissing, Message: "an access token is required"}
	case cred.Token == "":
		return new(auth.Identity), nil
	case cred.Source == auth.SourceTicket:
		return g.redeem(ctx, cred.Token)
	case g.auth.Verifier == nil:
		return nil, &auth.Error{Reason: auth.ReasonUnknown, Message: "this server knows no tokens"}
	}
	id, err := g.auth.Verifier.Verify(ctx, cred.Token)
	if err != nil {
		return nil, err
	}
	own := *id // the verifier may keep its own
	own.Source = cred.Source
	return &own, nil
}

// denied says why a client whose token is good is not let in after all.
func (g *gate) denied(user, tokenID string, wanted session.ID) error {
	name := ""
	if !wanted.IsZero() {
		name = wanted.String()
	}
	if kind, denied := g.deny.Denies(user, tokenID, name, time.Now()); denied {
		return &auth.Error{Reason: auth.ReasonRevoked, Message: "the " + string(kind) + " was revoked"}
	}
	return nil
}

// wantedSession is the session that the client wants to resume: of the query, or of a cookie that no foreign page can
// have made the browser send. What is no id is none.
func (g *gate) wantedSession(r *http.Request) session.ID {
	name := r.URL.Query().Get(sessionParameter)
	if name == "" && g.cookie != "" && g.auth.Origins.Matches(r) {
		if c, err := r.Cookie(g.cookie); err == nil {
			name = c.Value
		}
	}
	id, err := session.ParseID(name)
	if err != nil {
		return session.ID{}
	}
	return id
}

// params are what a session keeps of its client: what log lines show of it.
func (g *gate) params(r *http.Request) map[string]string {
	params := make(map[string]string)
	query := r.URL.Query()
	for _, name := range g.keeper.query {
		if v := g.hide.Shown(name, query.Get(name)); v != "" {
			params[name] = v
		}
	}
	for _, name := range g.headers {
		if v := g.hide.Shown(name, r.Header.Get(name)); v != "" {
			params[name] = v
		}
	}
	if len(params) == 0 {
		return nil
	}
	return params
}

// refusal makes the answer to a client that is not let in.
func (g *gate) refusal(err error) (answer *ws.HandshakeError, reason string) {
	if he, ok := errors.AsType[*ws.HandshakeError](err); ok {
		return he, "application"
	}
	ae, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return refused(http.StatusForbidden, "forbidden", "forbidden"), "application"
	}
	he := &ws.HandshakeError{
		Status: ae.Status(), Reason: ae.Message, Body: ae.Body(), ContentType: "application/json",
	}
	if c := ae.Challenge(); c != "" {
		he.Header = append(he.Header, ws.Field{Name: "WWW-Authenticate", Value: c})
	}
	if d := ae.RetryAfter(); d > 0 {
		he.Header = append(he.Header, ws.Field{Name: "Retry-After", Value: strconv.Itoa(int(d.Seconds()))})
	}
	return he, string(ae.Reason)
}

// refused makes an answer with a JSON body like that of auth.Error.
func refused(status int, code, message string) *ws.HandshakeError {
	var body struct {
		Error struct {
			Type    string `json:"type"`
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Type, body.Error.Code, body.Error.Message = "refused", code, message
	b, err := json.Marshal(body)
	if err != nil { // it holds strings only
		b = []byte("{}")
	}
	return &ws.HandshakeError{Status: status, Reason: message, Body: append(b, '\n'), ContentType: "application/json"}
}

// count notes a refusal.
func (g *gate) count(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused[reason]++
}

// refusals are the counts so far, by reason.
func (g *gate) refusals() map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make(map[string]uint64, len(g.refused))
	for reason, n := range g.refused {
		list[reason] = n
	}
	return list
}

// ticketBytes is the length of a ticket before it is written down.
const ticketBytes = 32

// issue makes a ticket for an identity.
func (g *gate) issue(ctx context.Context, id *auth.Identity) (string, error) {
	var b [ticketBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	ticket := base64.RawURLEncoding.EncodeToString(b[:])
	err := g.keeper.store.PutTicket(ctx, sha256.Sum256([]byte(ticket)), identity.Append(nil, id), g.auth.TicketTTL)
	return ticket, err
}

// redeem takes a ticket for the identity that it was made for. It is good once.
func (g *gate) redeem(ctx context.Context, ticket string) (*auth.Identity, error) {
	b, err := g.keeper.store.TakeTicket(ctx, sha256.Sum256([]byte(ticket)))
	switch {
	case errors.Is(err, session.ErrNotFound):
		return nil, &auth.Error{Reason: auth.ReasonExpired, Message: "the ticket is unknown, used, or too old"}
	case err != nil:
		return nil, &auth.Error{Reason: auth.ReasonUnavailable, Message: "tickets cannot be looked up now", Err: err}
	}
	id, err := identity.Parse(b)
	if err != nil {
		return nil, &auth.Error{Reason: auth.ReasonMalformed, Message: "the ticket is not understood", Err: err}
	}
	if id.Ended(time.Now()) {
		return nil, &auth.Error{Reason: auth.ReasonExpired, Message: "the token behind the ticket has expired"}
	}
	id.Source = auth.SourceTicket
	return &id, nil
}

package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// ticketBytes is the length of a ticket before it is encoded.
const ticketBytes = 32

// ticketAnswer is what a client gets for its token.
type ticketAnswer struct {
	Ticket    string  `json:"ticket"`
	ExpiresIn float64 `json:"expires_in"` // seconds
}

// ServeTicket answers a request for a ticket: a POST with a token in the Authorization header.
func (a *Admission) ServeTicket(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if a.Share(w, r) {
		h.Set("Access-Control-Allow-Headers", "Authorization")
		h.Set("Access-Control-Allow-Methods", "POST")
	}
	switch r.Method {
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		a.postTicket(w, r)
	default:
		h.Set("Allow", "POST, OPTIONS")
		http.Error(w, "want POST", http.StatusMethodNotAllowed)
	}
}

// Share permits the page that made r to read the response, if it may connect, and reports whether it does. Fetch §3.3.
func (a *Admission) Share(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || !a.allowed().Allows(r) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
	w.Header().Add("Vary", "Origin")
	return true
}

func (a *Admission) postTicket(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // net/http would read the body, which has no meaning, before it answers
		w.Header().Set("Connection", "close")
	}
	if a.Verifier == nil {
		he := Refused(http.StatusNotFound, "no_tokens", "this server accepts no tokens: connect without a ticket")
		a.refuseTicket(w, r, &limited{he, reasonNoTokens})
		return
	}
	defer a.tickets.Add(-1)
	if a.tickets.Add(1) > int64(a.MaxTickets) {
		a.refusedTickets.Add(1)
		he := Refused(http.StatusServiceUnavailable, "overloaded", "too many clients ask for tickets")
		he.Header = append(he.Header, ws.Field{Name: "Retry-After", Value: "1"})
		a.refuseTicket(w, r, &limited{he, reasonTickets})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
	defer cancel()
	ticket, err := a.exchange(ctx, r)
	if err != nil {
		a.refuseTicket(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ticketAnswer{Ticket: ticket, ExpiresIn: a.TicketTTL.Seconds()})
}

// refuseTicket answers, counts and logs as if a handshake was refused.
func (a *Admission) refuseTicket(w http.ResponseWriter, r *http.Request, err error) {
	remote := r.RemoteAddr
	if _, e := netip.ParseAddrPort(remote); e != nil { // see engine.Conn.Peer
		remote = "unix"
	}
	answer := a.Refuse(err, remote, r.URL.Path)
	a.Tracker.Engine.CountRefused(answer.Status)
	writeRefusal(w, answer)
}

// exchange returns a ticket for the token of a request.
func (a *Admission) exchange(ctx context.Context, r *http.Request) (string, error) {
	if !a.allowed().Allows(r) {
		return "", &auth.Error{Reason: auth.ReasonOrigin, Message: "pages of this origin may not connect"}
	}
	from := auth.Extractor{ // of the header only
		NoSubprotocol: true, NoQuery: true, NoCookie: true, NoTicket: true, MaxToken: a.Extractor.MaxToken,
	}
	id, err := a.identify(ctx, from, Required, r)
	if err != nil {
		return "", err
	}
	if err := a.denied(id.User, id.TokenID, session.ID{}); err != nil {
		return "", err
	}
	ticket, err := a.issue(ctx, id)
	if err != nil {
		return "", &auth.Error{Reason: auth.ReasonUnavailable, Message: "tickets cannot be stored now", Err: err}
	}
	return ticket, nil
}

// issue stores a new ticket for an identity. The store knows the hash of a ticket only.
func (a *Admission) issue(ctx context.Context, id *auth.Identity) (string, error) {
	var b [ticketBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	ticket := base64.RawURLEncoding.EncodeToString(b[:])
	err := a.Tracker.Store.PutTicket(ctx, sha256.Sum256([]byte(ticket)), identity.Append(nil, id), a.TicketTTL)
	return ticket, err
}

// redeem returns the identity that a ticket was issued for. It works once.
func (a *Admission) redeem(ctx context.Context, ticket string) (*auth.Identity, error) {
	b, err := a.Tracker.Store.TakeTicket(ctx, sha256.Sum256([]byte(ticket)))
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

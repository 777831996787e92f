package expedite

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// ticketAnswer is what a client gets for its token.
type ticketAnswer struct {
	Ticket    string  `json:"ticket"`
	ExpiresIn float64 `json:"expires_in"` // seconds
}

// Ticket answers POST with a ticket for the token in the Authorization header: `new WebSocket(url + "?ticket=…")` opens
// a connection with it, once, within Auth.TicketTTL, so that the token itself need not stand in an address. Pages of
// the origins that Auth.Origins allows may ask, too.
func (a *App) Ticket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := a.node.Load()
		if n == nil {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if origin := r.Header.Get("Origin"); origin != "" && n.gate.auth.Origins.Allows(r) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Headers", "Authorization")
			h.Set("Access-Control-Allow-Methods", "POST")
			h.Add("Vary", "Origin")
		}
		switch r.Method {
		case http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			a.ticket(w, r, n.gate)
		default:
			w.Header().Set("Allow", "POST, OPTIONS")
			http.Error(w, "want POST", http.StatusMethodNotAllowed)
		}
	})
}

func (a *App) ticket(w http.ResponseWriter, r *http.Request, g *gate) {
	if r.ContentLength != 0 { // net/http would read the body, which nobody wants, before it answers
		w.Header().Set("Connection", "close")
	}
	if g.auth.Verifier == nil {
		writeRefusal(w, refused(http.StatusNotFound, "no_tokens", "this server knows no tokens: connect without a ticket"))
		return
	}
	defer g.tickets.Add(-1)
	if g.tickets.Add(1) > g.maxTickets {
		g.ticketsRefused.Add(1)
		he := refused(http.StatusServiceUnavailable, "overloaded", "too many clients ask for tickets")
		he.Header = append(he.Header, ws.Field{Name: "Retry-After", Value: "1"})
		writeRefusal(w, he)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.patience)
	defer cancel()
	ticket, err := g.exchange(ctx, r)
	if err != nil {
		he, reason := g.refusal(err)
		g.count(reason)
		writeRefusal(w, he)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ticketAnswer{Ticket: ticket, ExpiresIn: g.auth.TicketTTL.Seconds()})
}

// exchange makes a ticket for the token of a request.
func (g *gate) exchange(ctx context.Context, r *http.Request) (string, error) {
	if !g.auth.Origins.Allows(r) {
		return "", &auth.Error{Reason: auth.ReasonOrigin, Message: "pages of this origin may not connect"}
	}
	from := auth.Extractor{ // of the header alone
		NoSubprotocol: true, NoQuery: true, NoCookie: true, NoTicket: true, MaxToken: g.auth.Extractor.MaxToken,
	}
	id, err := g.identify(ctx, from, AuthRequired, r)
	if err != nil {
		return "", err
	}
	if err := g.denied(id.User, id.TokenID, session.ID{}); err != nil {
		return "", err
	}
	ticket, err := g.issue(ctx, id)
	if err != nil {
		return "", &auth.Error{Reason: auth.ReasonUnavailable, Message: "tickets cannot be stored now", Err: err}
	}
	return ticket, nil
}

// writeRefusal answers through net/http as the engine does.
func writeRefusal(w http.ResponseWriter, he *ws.HandshakeError) {
	for _, f := range he.Header {
		w.Header().Add(f.Name, f.Value)
	}
	w.Header().Set("Content-Type", he.ContentType)
	w.WriteHeader(he.Status)
	_, _ = w.Write(he.Body) // who went away misses nothing
}

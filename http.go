package expedite

import (
	"encoding/json"
	"net/http"

	"github.com/expedite-go/expedite/internal/worker"
)

// Healthz returns a handler that answers 200 while the process lives.
func (a *App) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
}

// unreadyWait is the Retry-After of Readyz, in seconds.
const unreadyWait = "5"

// Readyz returns a handler that answers 200 while the worker takes new clients, and 503 while it does not: before it
// has started, in a drain, with Sessions.RequireRedis while Redis is away or the revocations of other machines are not
// known, and with AuthRequired while there are no keys. The body names what is degraded. A 503 has a Retry-After. Pages
// of the origins that Auth.Origins allows may read the response: browsers do not tell them why a handshake failed.
func (a *App) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var state worker.Readiness
		if role := a.role.Load(); role != nil && role.worker != nil {
			state = role.worker.Readiness()
			role.worker.Admission().Share(w, r)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.Header().Set("Retry-After", unreadyWait)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(state)
	})
}

// Ticket returns a handler that answers POST with a ticket for the token in the Authorization header. `new
// WebSocket(url + "?ticket=…")` opens one connection with it, within Auth.TicketTTL, so that the token itself need not
// be part of an address. Pages of the origins that Auth.Origins allows may ask as well.
func (a *App) Ticket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role := a.role.Load()
		if role == nil || role.worker == nil {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		role.worker.Admission().ServeTicket(w, r)
	})
}

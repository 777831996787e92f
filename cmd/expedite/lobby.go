package main

import (
	_ "embed"
	"errors"
	"net/http"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

//go:embed page.html
var page []byte

// welcome is the first message of the lobby.
type welcome struct {
	Type       string      `json:"type"`
	Connection expedite.ID `json:"connection"`
	Worker     int         `json:"worker"`
	Workers    int         `json:"workers"`
	Session    *session.ID `json:"session,omitempty"`
	Resumed    bool        `json:"resumed"`
	User       string      `json:"user,omitempty"`
}

// greeting is the welcome of a client.
func greeting(app *expedite.App, c *expedite.Conn) (expedite.Message, error) {
	w := welcome{
		Type: "welcome", Connection: c.ID(), Worker: app.Slot(), Workers: app.Slots(),
		Resumed: c.Session().Resumed(), User: c.User(),
	}
	if id := c.Session().ID(); !id.IsZero() {
		w.Session = &id
	}
	return expedite.JSON(w)
}

// subprotocol is for browsers, which can bring a token as a subprotocol only beside one that the server speaks.
const subprotocol = "expedite.v1"

// lobbyTopic is what everyone in the lobby hears.
const lobbyTopic = "lobby"

// lobbyLines is the number of log lines a second about clients that the lobby does not serve.
const lobbyLines = 5

// lobby gives app the endpoints of `expedite serve`.
func lobby(app *expedite.App, ping, idle time.Duration) {
	lines := telemetry.NewSampler(lobbyLines, nil)
	app.Handle("/", expedite.Handler{
		Inline:       true,
		Session:      true,
		Subprotocols: []string{subprotocol},
		PingInterval: ping,
		IdleTimeout:  idle,
		Open: func(c *expedite.Conn) {
			m, err := greeting(app, c)
			if err != nil && lines.Allow() {
				c.Log().Error("no welcome", "error", err)
			}
			c.Send(m)
			if err := c.Subscribe(lobbyTopic); err != nil && !errors.Is(err, expedite.ErrClosed) && lines.Allow() {
				c.Log().Warn("a client could not enter the lobby", "error", err)
			}
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			switch err := c.Publish(lobbyTopic, m); {
			case errors.Is(err, expedite.ErrForbidden):
				_ = c.Close(ws.ClosePolicyViolation, "the token does not permit to speak here")
			case err != nil: // the message is lost for the others: its sender must know
				_ = c.Close(ws.CloseTryAgainLater, "the lobby is overloaded")
			}
		},
	})
	app.Handle("/echo", expedite.Handler{
		Inline:       true,
		Subprotocols: []string{subprotocol},
		PingInterval: ping,
		IdleTimeout:  idle,
		Message:      func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("/ticket", app.Ticket())
	mux.Handle("GET /healthz", app.Healthz())
	mux.Handle("GET /readyz", app.Readyz())
	app.HTTP(mux)
}

// servePage shows the page that tries the lobby out.
func servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; connect-src 'self'; "+
		"style-src 'unsafe-inline'; script-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(page)
}

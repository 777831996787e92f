// Package lobby is the application of `expedite serve`: a topic that every client publishes to and receives, an echo, a
// page to try them in a browser, health checks and tickets.
package lobby

import (
	_ "embed"
	"errors"
	"net/http"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/client"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

//go:embed page.html
var page []byte

const (
	// subprotocol is for browsers: they can send a token as a subprotocol only beside one that the server supports.
	subprotocol = "expedite.v1"
	topic       = "lobby" // of all clients
	// logLines bounds the log lines per second about clients that the lobby cannot serve.
	logLines = 5
)

// Welcome is the first message to a client.
type Welcome struct {
	Type       string      `json:"type"`
	Connection expedite.ID `json:"connection"`
	Worker     int         `json:"worker"`
	Workers    int         `json:"workers"`
	Session    *session.ID `json:"session,omitempty"`
	Resumed    bool        `json:"resumed"`
	User       string      `json:"user,omitempty"`
}

// Recovered tells a client that has resumed its session how many messages of the lobby it has been sent that it had
// missed, before this one. OK is false if some are no longer kept, or if it is not known what the client has received.
type Recovered struct {
	Type    string `json:"type"`
	Resumed bool   `json:"resumed"`
	Missed  int    `json:"missed"`
	OK      bool   `json:"ok"`
}

func welcome(app *expedite.App, c *expedite.Conn) (expedite.Message, error) {
	w := Welcome{
		Type: "welcome", Connection: c.ID(), Worker: app.Slot(), Workers: app.Slots(),
		Resumed: c.Session().Resumed(), User: c.User(),
	}
	if id := c.Session().ID(); !id.IsZero() {
		w.Session = &id
	}
	return expedite.JSON(w)
}

// New returns the App. It never fails.
func New(cfg expedite.Config) (*expedite.App, error) {
	tell(cfg.Presence)
	app := expedite.New(cfg)
	register(app)
	return app, nil
}

// register registers the endpoints with app.
func register(app *expedite.App) {
	base := expedite.Handler{Inline: true, Subprotocols: []string{subprotocol}}
	lines := telemetry.NewSampler(logLines, nil)
	lobby, echo := base, base
	lobby.Session = true
	lobby.Open = func(c *expedite.Conn) {
		m, err := welcome(app, c)
		if err != nil && lines.Allow() {
			c.Log().Error("welcome not sent", "error", err)
		}
		c.Send(m)
		if err := c.Subscribe(topic); err != nil && !errors.Is(err, expedite.ErrClosed) && lines.Allow() {
			c.Log().Warn("client not subscribed to the lobby", "error", err)
		}
	}
	lobby.Recovered = func(c *expedite.Conn, _ string, r expedite.Recovered) {
		m, err := expedite.JSON(Recovered{Type: "recovered", Resumed: true, Missed: r.Missed, OK: r.OK})
		if err != nil && lines.Allow() {
			c.Log().Error("recovery not told", "error", err)
		}
		c.Send(m)
	}
	lobby.Message = func(c *expedite.Conn, m expedite.Message) {
		switch err := c.Publish(topic, m); {
		case errors.Is(err, expedite.ErrForbidden):
			_ = c.Close(ws.ClosePolicyViolation, "the token does not permit publishing here")
		case err != nil: // the others do not receive the message: tell its sender
			_ = c.Close(ws.CloseTryAgainLater, "the lobby is overloaded")
		}
	}
	app.Handle("/", lobby)
	echo.Message = func(c *expedite.Conn, m expedite.Message) { c.Send(m) }
	app.Handle("/echo", echo)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("GET /expedite.js", client.Handler())
	mux.Handle("/ticket", app.Ticket())
	mux.Handle("GET /healthz", app.Healthz())
	mux.Handle("GET /readyz", app.Readyz())
	app.HTTP(mux)
}

// servePage serves the page that tries the lobby.
func servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; connect-src 'self'; "+
		"style-src 'unsafe-inline'; script-src 'self' 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(page)
}

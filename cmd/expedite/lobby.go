package main

import (
	_ "embed"
	"log/slog"
	"net/http"

	"github.com/expedite-go/expedite"
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
}

// lobbyTopic is what everyone in the lobby hears.
const lobbyTopic = "lobby"

// lobby gives app the endpoints of `expedite serve`.
func lobby(app *expedite.App) {
	app.Handle("/", expedite.Handler{
		Inline: true,
		Open: func(c *expedite.Conn) {
			m, err := expedite.JSON(welcome{Type: "welcome", Connection: c.ID(), Worker: app.Slot(), Workers: app.Slots()})
			if err != nil {
				slog.Error("no welcome", "error", err)
			}
			c.Send(m)
			if err := c.Subscribe(lobbyTopic); err != nil {
				slog.Warn("a client could not enter the lobby", "error", err)
			}
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			if err := app.Publish(lobbyTopic, m); err != nil {
				// The message is lost for the others: its sender must know.
				_ = c.Close(ws.CloseTryAgainLater, "the lobby is overloaded")
			}
		},
	})
	app.Handle("/echo", expedite.Handler{
		Inline:  true,
		Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
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

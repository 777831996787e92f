// Command blank is a WebSocket server to start from: each message goes back to its sender.
//
//	go run . serve
//
// Then open http://localhost:8080.
package main

import (
	_ "embed"
	"net/http"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/command"
)

//go:embed page.html
var page []byte

// main has the commands of expedite: serve, status, reload and so on. --help lists them.
func main() { command.Main(setup) }

// setup makes the App, in each process. The Config has what flags, environment and expedite.yaml say.
func setup(cfg expedite.Config) (*expedite.App, error) {
	app := expedite.New(cfg)
	app.Handle("/ws", expedite.Handler{
		Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", app.Healthz())
	mux.Handle("GET /readyz", app.Readyz())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	app.HTTP(mux)
	return app, nil
}

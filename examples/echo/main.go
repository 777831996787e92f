// Command echo returns each message to its sender as fast as it can, and its page measures how fast that is.
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

func main() { command.Main(setup) }

// setup makes the App, in each process.
func setup(cfg expedite.Config) (*expedite.App, error) {
	app := expedite.New(cfg)
	app.Handle("/echo", expedite.Handler{
		// On the event loop: a microsecond less for each message, and the callback must not block.
		Inline: true,
		Message: func(c *expedite.Conn, m expedite.Message) {
			// A client that sends and does not read is closed with 1013 when its queue is full. See Handler.Slow.
			c.Send(m)
		},
		MaxMessage: 64 << 10,
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

package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/lxzan/gws"

	"github.com/expedite-go/expedite"
)

// expediteServer returns a function that starts an Expedite server with one event loop in this process. With each, it
// sends broadcasts to each connection separately.
func expediteServer(compression expedite.Compression, each bool) func() (string, error) {
	return func() (string, error) { return startExpedite(compression, each, expedite.TLS{}) }
}

// expediteTLS is expediteServer for a server with TLS, which name describes.
func expediteTLS(name string) func() (string, error) {
	return func() (string, error) { return startExpedite(expedite.CompressionOff, false, serverTLS(name)) }
}

func startExpedite(compression expedite.Compression, each bool, t expedite.TLS) (string, error) {
	started := make(chan expedite.Started, 1)
	var all []*expedite.Conn // on the loop
	app := expedite.New(expedite.Config{
		MaxHandshakes: 16384, // the crowd of the tls scenario comes to one process
		Addr:          "127.0.0.1:0", Workers: -1, Compression: compression, TLS: t,
		OnStart: func(st expedite.Started) { started <- st },
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	app.Handle("/echo", expedite.Handler{
		Inline: true, PingInterval: -1, IdleTimeout: -1,
		Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	app.Handle("/broadcast", expedite.Handler{
		Inline: true, PingInterval: -1, IdleTimeout: -1,
		Open: func(c *expedite.Conn) {
			all = append(all, c)
			_ = c.Subscribe("all")
		},
		Message: func(_ *expedite.Conn, m expedite.Message) {
			if !each {
				_ = app.Publish("all", m)
				return
			}
			for _, c := range all {
				c.Send(m)
			}
		},
	})
	app.Handle("/work", expedite.Handler{
		PingInterval: -1, IdleTimeout: -1, Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	failed := make(chan error, 1)
	go func() { failed <- app.Run(context.Background()) }()
	select {
	case st := <-started:
		return st.Addresses[0], nil
	case err := <-failed:
		return "", err
	}
}

// gwsHandler echoes messages, or broadcasts those of /broadcast.
type gwsHandler struct {
	gws.BuiltinEventHandler
	mu  sync.Mutex
	all []*gws.Conn // connections of /broadcast
}

// OnOpen implements gws.Event.
func (h *gwsHandler) OnOpen(c *gws.Conn) {
	if path, _ := c.Session().Load("path"); path == "/broadcast" {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, c)
	}
}

// OnMessage implements gws.Event.
func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if path, _ := c.Session().Load("path"); path != "/broadcast" {
		_ = c.WriteMessage(m.Opcode, m.Bytes())
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	for _, to := range h.all {
		_ = b.Broadcast(to)
	}
}

// gwsServer returns a function that starts a gws server.
func gwsServer(deflate gws.PermessageDeflate) func() (string, error) {
	return func() (string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return startGWS(ln, deflate)
	}
}

// gwsTLS starts a gws server over crypto/tls.
func gwsTLS() (string, error) {
	ln, err := listenTLS("gws tls")
	if err != nil {
		return "", err
	}
	return startGWS(ln, gws.PermessageDeflate{})
}

// startGWS starts a gws server, which uses its own listener instead of net/http and one goroutine per connection.
func startGWS(ln net.Listener, deflate gws.PermessageDeflate) (string, error) {
	s := gws.NewServer(&gwsHandler{}, &gws.ServerOption{
		PermessageDeflate: deflate,
		Authorize: func(r *http.Request, session gws.SessionStorage) bool {
			session.Store("path", r.URL.Path)
			return true
		},
	})
	go func() {
		if err := s.RunListener(ln); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
		}
	}()
	return ln.Addr().String(), nil
}

package expedite

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/engine"
)

// httpQueue is the number of connections that may wait for net/http to take them.
const httpQueue = 1024

// fallbackListener is the HTTP fallback: net/http accepts from it the connections whose request is not an upgrade.
type fallbackListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	refused atomic.Uint64 // connections that found the queue full
}

func newFallbackListener(addr net.Addr) *fallbackListener {
	return &fallbackListener{addr: addr, conns: make(chan net.Conn, httpQueue), done: make(chan struct{})}
}

// push queues c for Accept and reports true. If the queue is full or closed, it closes c instead. It never blocks.
func (l *fallbackListener) push(c net.Conn) bool {
	select {
	case <-l.done:
	case l.conns <- c:
		return true
	default:
		l.refused.Add(1)
	}
	_ = c.Close()
	return false
}

// Accept returns the next queued connection. It blocks until there is one or the listener is closed.
func (l *fallbackListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept with net.ErrClosed. Connections that are queued stay there.
func (l *fallbackListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns the address that the workers listen on.
func (l *fallbackListener) Addr() net.Addr { return l.addr }

// httpServer serves everything that is no WebSocket. It has each connection for one request: see engine.Requests.
func (a *App) httpServer(eng *engine.Engine) *http.Server {
	return &http.Server{
		Handler:        a.httpHandler(eng),
		MaxHeaderBytes: a.cfg.MaxHead,
		ConnState: func(c net.Conn, state http.ConnState) {
			x, ok := c.(*engine.Requests)
			switch {
			case ok && state == http.StateIdle:
				x.Keep()
			case ok && state == http.StateHijacked:
				x.Hijacked()
			}
		},
	}
}

// httpHandler is the App's handler, with what happens around it.
func (a *App) httpHandler(eng *engine.Engine) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		returned := false
		defer func() {
			if returned {
				return
			}
			if p := recover(); p != http.ErrAbortHandler {
				eng.Panicked("http handler", p)
			}
			panic(http.ErrAbortHandler) // net/http ends the connection
		}()
		if a.routes[r.URL.Path] != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			w = &endpointWriter{ResponseWriter: w}
		}
		a.http.ServeHTTP(w, r)
		returned = true
	})
}

// endpointWriter answers a plain GET of a WebSocket endpoint with 426 if the App's handler knows no better than 404.
// RFC 9110 §15.5.22.
type endpointWriter struct {
	http.ResponseWriter
	begun, replaced bool
}

// WriteHeader is part of http.ResponseWriter.
func (w *endpointWriter) WriteHeader(status int) {
	if w.begun || status != http.StatusNotFound {
		w.begun = w.begun || status >= http.StatusOK
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.begun, w.replaced = true, true
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-WebSocket-Version", "13") // RFC 6455 §4.4
	http.Error(w.ResponseWriter, "this is a WebSocket endpoint", http.StatusUpgradeRequired)
}

// Write is part of http.ResponseWriter.
func (w *endpointWriter) Write(b []byte) (int, error) {
	w.begun = true
	if w.replaced {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Flush is part of http.Flusher.
func (w *endpointWriter) Flush() { _ = w.FlushError() }

// FlushError is for http.ResponseController.
func (w *endpointWriter) FlushError() error {
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is part of http.Hijacker.
func (w *endpointWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *endpointWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isHealthCheck names the paths that are served when no other request is: see Config.MaxHTTPConnections.
func isHealthCheck(path string) bool { return path == "/healthz" || path == "/readyz" }

// readiness is what /readyz says.
type readiness struct {
	Ready    bool     `json:"ready"`
	Worker   int      `json:"worker,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
}

// Healthz answers 200 while the process lives.
func (a *App) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
}

// Readyz answers 200 while the worker takes new clients, and 503 when it does not: before it started, in a drain, and
// with Sessions.RequireRedis while Redis is away, or what other machines have revoked is not known, and with
// AuthRequired while there are no keys. The body names what is degraded.
func (a *App) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var state readiness
		if n := a.node.Load(); n != nil {
			state = readiness{Ready: !n.draining.Load(), Worker: n.slot}
			k := n.gate.keeper
			h := k.condition()
			state.Degraded = h.Degraded()
			state.Ready = state.Ready && (!k.require || h.Current && !h.Store.IsSet())
			if err := n.gate.auth.keysReady(); err != nil {
				state.Degraded = append(state.Degraded, degradedKeys)
				state.Ready = state.Ready && n.gate.auth.mode() != AuthRequired
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(state)
	})
}

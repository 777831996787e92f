package worker

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/engine"
)

// fallbackQueue is the number of connections that may wait for net/http to take them.
const fallbackQueue = 1024

// fallback serves requests that are not upgrades, on net/http. It is the listener of its server, and has each
// connection for one request: see engine.Requests.
type fallback struct {
	server *http.Server
	log    *slog.Logger
	addr   net.Addr
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once

	refused atomic.Uint64 // connections that found the queue full
}

func newFallback(w *Worker) *fallback {
	f := &fallback{log: w.log, addr: w.Addr, conns: make(chan net.Conn, fallbackQueue), done: make(chan struct{})}
	f.server = &http.Server{
		Handler:        &fallbackHandler{w, securePort(w.Sources)},
		MaxHeaderBytes: w.Config.Engine.MaxHead,
		ErrorLog:       slog.NewLogLogger(w.Journal.Sampled(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, requestsKey{}, c)
		},
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
	return f
}

// serve blocks until stop.
func (f *fallback) serve() {
	if err := f.server.Serve(f); err != nil && !errors.Is(err, http.ErrServerClosed) {
		f.log.Error("net/http ended", "error", err)
	}
}

// stop waits for the requests that are being served, until ctx ends.
func (f *fallback) stop(ctx context.Context) { _ = f.server.Shutdown(ctx) }

// push passes a connection to net/http. If net/http does not keep up, the connection is closed. It never blocks.
func (f *fallback) push(c net.Conn) {
	select {
	case <-f.done:
	case f.conns <- c:
		return
	default:
		f.refused.Add(1)
	}
	_ = c.Close()
}

// Accept implements net.Listener with the connections of push.
func (f *fallback) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: later connections are closed.
func (f *fallback) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr implements net.Listener with the public address.
func (f *fallback) Addr() net.Addr { return f.addr }

// fallbackHandler is the application's handler. It counts panics as those of callbacks are counted, and answers plain
// requests of endpoints.
type fallbackHandler struct {
	worker     *Worker
	securePort int // for redirect
}

// ServeHTTP implements http.Handler.
func (h *fallbackHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != http.ErrAbortHandler {
			h.worker.engine.Panicked("http handler", p,
				slog.String("remote", r.RemoteAddr), slog.String("path", r.URL.Path))
		}
		panic(http.ErrAbortHandler) // net/http ends the connection
	}()
	nameClient(r)
	if h.worker.answerChallenge(w, r) {
		returned = true
		return
	}
	if h.redirects(r) {
		redirect(w, r, h.securePort)
		returned = true
		return
	}
	plain := r.Method == http.MethodGet || r.Method == http.MethodHead
	if plain && h.worker.endpoints.match(r.URL.EscapedPath()) != nil {
		w = &endpointWriter{ResponseWriter: w}
	}
	h.worker.HTTP.ServeHTTP(w, r)
	returned = true
}

// answerChallenge answers an authority that asks whether a domain of --tls-auto leads to this server. What it knows
// nothing of is the application's, which may obtain certificates, too. It works with TLS or without.
func (w *Worker) answerChallenge(rw http.ResponseWriter, r *http.Request) bool {
	if w.Secure == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	answer := w.Secure.Answer(r.URL.Path)
	if answer == nil {
		return false
	}
	rw.Header().Set("Content-Type", "application/octet-stream") // RFC 8555 §8.3
	_, _ = rw.Write(answer)
	return true
}

// requestsKey is the key of the connection in the context of a request.
type requestsKey struct{}

// nameClient stores in r what is known of its client: TLS, and what proxies have told: RemoteAddr, and the scheme of
// its URL. net/http knows the address of the connection's first request only.
func nameClient(r *http.Request) {
	x, ok := r.Context().Value(requestsKey{}).(*engine.Requests)
	if !ok {
		return
	}
	r.TLS = x.TLS()
	who, relayed := x.Client()
	if relayed && who.Addr.IsValid() {
		r.RemoteAddr = who.Addr.String()
	}
	r.URL.Scheme = who.Scheme // not what a client claims in a target in absolute form
}

// isHealthCheck names the paths that are served even if there are too many requests: see Config.MaxHTTPConnections.
func isHealthCheck(path string) bool { return path == "/healthz" || path == "/readyz" }

// endpointWriter answers a plain GET of a WebSocket endpoint with 426 where the application's handler answers 404.
// RFC 9110 §15.5.22.
type endpointWriter struct {
	http.ResponseWriter
	begun, replaced bool
}

// WriteHeader implements http.ResponseWriter.
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

// Write implements http.ResponseWriter. It drops the body of a 404 that was replaced.
func (w *endpointWriter) Write(b []byte) (int, error) {
	w.begun = true
	if w.replaced {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (w *endpointWriter) Flush() { _ = w.FlushError() }

// FlushError flushes for http.ResponseController.
func (w *endpointWriter) FlushError() error {
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *endpointWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap returns the writer underneath, for http.ResponseController.
func (w *endpointWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

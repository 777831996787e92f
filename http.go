package expedite

import (
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

const (
	// httpQueue is the number of connections that may wait for net/http to take them.
	httpQueue = 1024
	// httpHeadTimeout bounds the reading of a request's head by net/http.
	httpHeadTimeout = 10 * time.Second
	// httpIdleTimeout ends connections that are kept alive without a request.
	httpIdleTimeout = 60 * time.Second
)

// handoffListener gives net/http the connections whose request was no upgrade.
type handoffListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	refused atomic.Uint64 // connections that found the queue full
}

func newHandoffListener(addr net.Addr) *handoffListener {
	return &handoffListener{addr: addr, conns: make(chan net.Conn, httpQueue), done: make(chan struct{})}
}

// push gives c away; if net/http does not keep up, it is closed. It never blocks.
func (l *handoffListener) push(c net.Conn) bool {
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

// Accept is part of net.Listener.
func (l *handoffListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (l *handoffListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is part of net.Listener.
func (l *handoffListener) Addr() net.Addr { return l.addr }

// httpServer serves everything that is no WebSocket, and gives back the upgrades that come on a connection that was
// kept alive, as proxies do it.
func (a *App) httpServer(eng *engine.Engine) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a.routes[r.URL.Path] != nil && isUpgrade(r) {
				giveBack(eng, w, r)
				return
			}
			a.http.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: httpHeadTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    a.cfg.MaxHead,
	}
}

func isUpgrade(r *http.Request) bool {
	req := wsRequest(r)
	return req.WantsUpgrade()
}

// giveBack gives the connection of r to the engine.
func giveBack(eng *engine.Engine, w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "cannot upgrade: this is no HTTP/1.1 connection", http.StatusUpgradeRequired)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	rest, _ := rw.Reader.Peek(rw.Reader.Buffered())
	if !eng.Adopt(conn, wsRequest(r), rest) {
		_ = conn.Close()
	}
}

// wsRequest gives a request the form that the protocol knows.
func wsRequest(r *http.Request) ws.Request {
	req := ws.Request{
		Minor: r.ProtoMinor, Method: r.Method, Target: r.RequestURI, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Host: r.Host,
		Header: []ws.Field{{Name: "Host", Value: r.Host}},
	}
	for name, values := range r.Header {
		for _, v := range values {
			req.Header = append(req.Header, ws.Field{Name: name, Value: v})
		}
	}
	return req
}

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
// with Sessions.RequireRedis while Redis is away, or what other machines have revoked is not known. The body names what
// is degraded.
func (a *App) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var state readiness
		if n := a.node.Load(); n != nil {
			state = readiness{Ready: !n.draining.Load(), Worker: n.slot}
			k := n.gate.keeper
			h := k.condition()
			state.Degraded = h.degraded()
			state.Ready = state.Ready && (!k.require || h.Current && !h.Store.is())
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(state)
	})
}

package engine

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Source is an address that clients connect to, as far as connections depend on it before their handshake is over.
type Source struct {
	// Name is the address with its options. A connection that moves before its handshake takes it along.
	Name string
	// Proxies tells which peers are proxies.
	Proxies Proxies
	// Secure returns the server's end of TLS over a connection of which ahead was read, and whose first Read does the
	// handshake. Nil, and for Unix sockets: clients do not use TLS.
	Secure func(conn net.Conn, ahead []byte) net.Conn
	// Redirect tells that clients have to use TLS, at another address: requests for WebSockets go to net/http, too,
	// which redirects them. See Requests.Redirects.
	Redirect bool
}

// sources are the sources of connections. On the loop only, or before Run.
type sources struct {
	list []*Source // the first one is that of connections whose source is not known
	by   map[string]uint16
}

// maxSources is the largest number of sources. Only reloads that change addresses again and again could exceed it.
const maxSources = 4096

// source returns the index of the source with a name.
func (e *Engine) source(name string) uint16 {
	w := &e.sources
	if i, ok := w.by[name]; ok {
		return i
	}
	if len(w.list) >= maxSources {
		return 0
	}
	s := Source{Name: name}
	if e.cfg.Source != nil {
		s = e.cfg.Source(name)
	}
	if w.by == nil {
		w.by = make(map[string]uint16)
	}
	w.by[name] = uint16(len(w.list))
	w.list = append(w.list, &s)
	return w.by[name]
}

// Source returns where c came from. On the loop, before the handshake is over.
func (c *Conn) Source() *Source { return c.eng.sources.list[c.source] }

// Listen accepts connections from ln, the source with a name, until the Listener is stopped or the engine ends. It does
// not close ln. Call it before Run or on the loop.
func (e *Engine) Listen(ln net.Listener, name string) (*reactor.Listener, error) {
	source := e.source(name)
	return e.loop.Listen(ln, func(k reactor.Key, s reactor.Socket, remote netip.AddrPort) {
		e.adopt(k, s, remote, source)
	})
}

// PauseAccept stops accepting until ResumeAccept. On the loop.
func (e *Engine) PauseAccept() { e.loop.PauseAccept() }

// ResumeAccept continues accepting. On the loop.
func (e *Engine) ResumeAccept() error { return e.loop.ResumeAccept() }

// AddFDs takes over accepted sockets, which must be non-blocking streams. names are those of their sources; a missing
// one is empty. It owns the sockets even if it cannot serve them. After Stop it reports false, and they still belong to
// the caller. It is safe for concurrent use. Linux only.
func (e *Engine) AddFDs(fds []int, names []string) bool {
	fds = append([]int(nil), fds...)
	return e.loop.Post(func() {
		for i, fd := range fds {
			k, s, remote, err := e.loop.AddFD(fd)
			if err != nil {
				e.count.resets.Add(1) // its client has already left
				e.clientLog(slog.LevelDebug, "socket lost", "error", err)
				continue
			}
			name := ""
			if i < len(names) {
				name = names[i]
			}
			e.adopt(k, s, remote, e.source(name))
		}
	})
}

// clientLog logs a line about one client, if Config.MayLog allows it. It is safe for concurrent use.
func (e *Engine) clientLog(level slog.Level, msg string, args ...any) {
	ctx := context.Background()
	if e.cfg.Logger.Enabled(ctx, level) && (e.cfg.MayLog == nil || e.cfg.MayLog()) {
		e.cfg.Logger.Log(ctx, level, msg, args...)
	}
}

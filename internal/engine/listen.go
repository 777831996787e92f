package engine

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Listen accepts connections from ln until stop is called or the engine ends; it does not close ln. Before Run, or on
// the loop.
func (e *Engine) Listen(ln net.Listener) (stop func(), err error) {
	return e.loop.Listen(ln, func(k reactor.Key, s reactor.Socket, remote netip.AddrPort) { e.adopt(k, s, remote) })
}

// PauseAccept accepts nothing from here on, until ResumeAccept. On the loop.
func (e *Engine) PauseAccept() { e.loop.PauseAccept() }

// ResumeAccept accepts again. On the loop.
func (e *Engine) ResumeAccept() error { return e.loop.ResumeAccept() }

// AddFDs takes over accepted sockets, which must be non-blocking TCP streams. It owns them from here on, even if it
// cannot serve them. It reports false after Stop, and the sockets are the caller's still. Any goroutine. Linux only.
func (e *Engine) AddFDs(fds []int) bool {
	fds = append([]int(nil), fds...)
	return e.loop.Post(func() {
		for _, fd := range fds {
			k, s, remote, err := e.loop.AddFD(fd)
			if err != nil {
				e.count.resets.Add(1) // its client has left already
				e.clientLog(slog.LevelDebug, "socket lost", "error", err)
				continue
			}
			e.adopt(k, s, remote)
		}
	})
}

// clientLog writes a log line about one client, within Config.MayLog. Any goroutine.
func (e *Engine) clientLog(level slog.Level, msg string, args ...any) {
	ctx := context.Background()
	if e.cfg.Logger.Enabled(ctx, level) && (e.cfg.MayLog == nil || e.cfg.MayLog()) {
		e.cfg.Logger.Log(ctx, level, msg, args...)
	}
}

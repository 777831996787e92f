package engine

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Listen accepts connections from ln until stop is called or the engine ends. It does not close ln. Call it before Run
// or on the loop.
func (e *Engine) Listen(ln net.Listener) (stop func(), err error) {
	return e.loop.Listen(ln, func(k reactor.Key, s reactor.Socket, remote netip.AddrPort) { e.adopt(k, s, remote) })
}

// PauseAccept stops accepting until ResumeAccept. On the loop.
func (e *Engine) PauseAccept() { e.loop.PauseAccept() }

// ResumeAccept continues accepting. On the loop.
func (e *Engine) ResumeAccept() error { return e.loop.ResumeAccept() }

// AddFDs takes over accepted sockets, which must be non-blocking TCP streams. It owns them even if it cannot serve
// them. After Stop it reports false, and the sockets still belong to the caller. It is safe for concurrent use. Linux
// only.
func (e *Engine) AddFDs(fds []int) bool {
	fds = append([]int(nil), fds...)
	return e.loop.Post(func() {
		for _, fd := range fds {
			k, s, remote, err := e.loop.AddFD(fd)
			if err != nil {
				e.count.resets.Add(1) // its client has already left
				e.clientLog(slog.LevelDebug, "socket lost", "error", err)
				continue
			}
			e.adopt(k, s, remote)
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

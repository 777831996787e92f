package worker

import (
	"context"
	"log/slog"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// Admit admits the client of a handshake, or returns the answer that refuses it. It may block.
func (w *Worker) Admit(ctx context.Context, e *access.Endpoint, u *engine.Upgrade, c *access.Client) error {
	err := w.admission.Admit(ctx, e, u, c)
	if err == nil {
		return nil
	}
	return w.admission.Refuse(err, u.Conn.Peer(), e.Path)
}

// Opened takes note of a connection that has opened. On the loop, or on a goroutine of the connection.
func (w *Worker) Opened(e *access.Endpoint, c *access.Client) {
	w.ticker.Wake()
	w.admission.Join(e, c)
	w.admission.Opened(c)
	if w.Journal.Clients.Allow() {
		w.log.LogAttrs(context.Background(), slog.LevelInfo, "client connected", c.LogAttrs(e.Path, &w.Params)...)
	}
}

// Wake notes that something happens: the worker's regular work is done more often.
func (w *Worker) Wake() { w.ticker.Wake() }

// Closed takes note of a connection that has ended. On the loop, or on a goroutine of the connection.
func (w *Worker) Closed(e *access.Endpoint, c *access.Client, code ws.CloseCode, reason string) {
	w.ticker.Wake()
	w.host.closed(c.ID())
	w.tracker.Ended(c)
	if w.Journal.Clients.Allow() {
		w.log.LogAttrs(context.Background(), slog.LevelInfo, "client gone",
			append(c.LogAttrs(e.Path, &w.Params), slog.Int("code", int(code)), slog.String("reason", reason))...)
	}
}

package control

import (
	"context"
	"net/http"
	"time"
	"unicode/utf8"
)

// DrainRequest asks for a drain: the server closes its connections over some time, and stays up without any.
type DrainRequest struct {
	// SettleSeconds is the time in which the server is not ready and still takes new connections, and OverSeconds the
	// time after it in which the connections are closed.
	SettleSeconds float64 `json:"settle_seconds"`
	OverSeconds   float64 `json:"over_seconds"`
	// Notice, if it is set, is a text message to each client before the first connection is closed.
	Notice string `json:"notice,omitempty"`
	// Undo ends a drain: the server takes connections again. The other fields do not count then.
	Undo bool `json:"undo,omitempty"`
}

const (
	// MaxDrain is the longest time of each part of a drain.
	MaxDrain = 24 * time.Hour
	// MaxNotice is the longest notice, in bytes.
	MaxNotice = 4 << 10
)

func (r DrainRequest) check() error {
	for name, v := range map[string]float64{"settle_seconds": r.SettleSeconds, "over_seconds": r.OverSeconds} {
		if !(v >= 0 && v <= MaxDrain.Seconds()) {
			return badRequest("%s %v: want 0 to %v", name, v, MaxDrain.Seconds())
		}
	}
	if len(r.Notice) > MaxNotice || !utf8.ValidString(r.Notice) {
		return badRequest("the notice is longer than %d bytes or no valid UTF-8", MaxNotice)
	}
	return nil
}

// The phases of a drain.
const (
	DrainSettling = "settling" // not ready, and takes new connections
	DrainClosing  = "closing"  // takes none, and closes those that it has
	DrainDone     = "drained"  // has none, and stays up
)

// DrainStatus is the state of a drain. Its JSON is a contract like that of [Status].
type DrainStatus struct {
	Phase       string  `json:"phase"`
	LeftSeconds float64 `json:"left_seconds"` // of the phase, as planned
	Connections int64   `json:"connections"`  // that are open
}

// Drain begins, changes or undoes a drain, and returns at once. Status tells how far it is.
func (c *Client) Drain(ctx context.Context, req DrainRequest) error {
	_, err := ask[empty](ctx, c, http.MethodPost, "/drain", req)
	return err
}

// Readiness is whether a server takes new clients. Reason is why not, or what does not work nevertheless.
type Readiness struct {
	Ready   bool   `json:"ready"`
	Workers int    `json:"workers"` // slots whose worker takes new clients
	Reason  string `json:"reason,omitempty"`
}

// Readiness asks whether the server takes new clients. An answer shows that the primary works: it has passed through
// the parts that it consists of.
func (c *Client) Readiness(ctx context.Context) (Readiness, error) {
	return ask[Readiness](ctx, c, http.MethodGet, "/ready", nil)
}

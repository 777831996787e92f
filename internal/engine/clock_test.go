package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// TestExpiryByTheWallClock: a token that expired while the machine slept ends its connection, although the loop's clock
// stood still. Other tokens keep their remaining time, also that of a client that arrives before the sleep was noticed.
func TestExpiryByTheWallClock(t *testing.T) {
	var slept atomic.Int64
	wall := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
	expiry := func(in time.Duration) *Route {
		return &Route{Handler: echo, Authorize: func(_ context.Context, u *Upgrade) error {
			u.Conn.SetExpiry(reactor.Monotonic() + int64(in))
			return nil
		}}
	}
	f := start(t, Config{Wall: wall}, map[string]*Route{"/short": expiry(30 * time.Minute), "/long": expiry(3 * time.Hour)})
	short, long := f.dial(t, "/short"), f.dial(t, "/long")
	f.CheckClock()
	short.send(ws.OpText, []byte("before"))
	short.want(ws.OpText, []byte("before"))
	slept.Store(int64(time.Hour))
	late := f.dial(t, "/short")
	f.CheckClock()
	short.wantClose(CloseExpired)
	for _, p := range []*peer{long, late} {
		p.send(ws.OpText, []byte("after"))
		p.want(ws.OpText, []byte("after"))
	}
}

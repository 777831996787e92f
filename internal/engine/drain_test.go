package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// TestEvictPortion: as many connections are closed per tick as are needed to be done in time, and all when there is
// none left.
func TestEvictPortion(t *testing.T) {
	for _, tt := range []struct {
		open   int
		left   time.Duration
		chance float64
		want   int
	}{
		{0, time.Minute, 0.5, 0},
		{3000, time.Minute, 0, 1},
		{4500, time.Minute, 0.4, 1},
		{4500, time.Minute, 0.6, 2},
		{1, time.Minute, 0.999, 0},
		{1, time.Minute, 0.9999, 1},
		{7, drainTick, 0, 7},
		{7, -time.Hour, 0, 7},
		{0, 0, 0, 1}, // one that comes between the count and the close
	} {
		if got := evictPortion(tt.open, tt.left, tt.chance); got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
}

// TestEvict: all connections are closed with the code, also those that come while it goes on. Nothing is refused before
// Refuse, other requests never, and after it everything is as before.
func TestEvict(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var closed atomic.Int32
	leave := func(p *peer) {
		if reason := p.wantClose(ws.CloseServiceRestart); reason != "drain" {
			t.Errorf("reason: got %q, want drain", reason)
		}
		_ = p.conn.Close()
		closed.Add(1)
	}
	var wg sync.WaitGroup
	for range 50 {
		p := f.dial(t, "/")
		wg.Go(func() { leave(p) })
	}
	go func() {
		defer close(ended)
		f.Evict(ctx, time.Now().Add(200*time.Millisecond), ws.CloseServiceRestart, "drain")
	}()
	wg.Wait()
	leave(f.dial(t, "/"))
	if n := closed.Load(); n != 51 {
		t.Errorf("%d were closed, want 51", n)
	}
	f.Refuse(true)
	if head := f.connect(t, fmt.Sprintf(request, "/")).head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 503 ")) ||
		!bytes.Contains(head, []byte("Retry-After: ")) {
		t.Errorf("a new client gets %q, want 503", head)
	}
	f.Refuse(false)
	cancel()
	<-ended
	p := f.dial(t, "/")
	p.send(ws.OpText, []byte("still here"))
	p.want(ws.OpText, []byte("still here"))
}

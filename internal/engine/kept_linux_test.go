package engine

import (
	"testing"
	"time"
)

// TestMoveKeptAlive: a connection that waits for its next request moves, and keeps the rest of its time.
func TestMoveKeptAlive(t *testing.T) {
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	const limit = 30 * time.Millisecond
	cfg := Config{KeepAlive: patience, HandshakeTimeout: patience}
	p.here, p.there = startHTTP(t, cfg, nil), startHTTP(t, cfg, nil)
	c := p.here.connect(t, plainRequest)
	c.wantPlain()
	p.here.returned(t, 1)
	p.here.hasten(limit) // only now: the test may be slow to send the request
	p.there.hasten(limit)
	for range 3 {
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved, want 1", n)
		}
		<-time.After(2 * limit)
		c.write([]byte(plainRequest))
		c.wantPlain()
		p.here.returned(t, 1)
	}
}

// TestMoveAnswered: a connection whose request has just been answered, and which net/http still has, moves like those
// on the loop, whatever has arrived of its next request.
func TestMoveAnswered(t *testing.T) {
	for _, come := range []int{0, 1, len(plainRequest) - 1} {
		p := &pair{t: t, ready: make(chan struct{}, 1)}
		cfg := Config{KeepAlive: patience}
		p.here, p.there = startHTTP(t, cfg, nil), startHTTP(t, cfg, nil)
		for range 10 {
			c := p.here.connect(t, plainRequest)
			c.wantPlain()
			c.write([]byte(plainRequest[:come]))
			from := p.here
			until(t, "the request is answered for net/http, too", func() bool {
				from.requestsMu.Lock()
				defer from.requestsMu.Unlock()
				return from.returning.Load() > 0 || len(from.requests) == 0
			})
			if n := p.move(); n != 1 {
				t.Fatalf("%d bytes have come: %d connections moved, want 1", come, n)
			}
			if n := from.returning.Load(); n != 0 {
				t.Fatalf("%d connections are on their way, want none", n)
			}
			c.write([]byte(plainRequest[come:]))
			c.wantPlain()
			_ = c.conn.Close()
			p.here.returned(t, 0)
		}
	}
}

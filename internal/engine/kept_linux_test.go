package engine

import (
	"testing"
	"time"
)

// TestMoveKeptAlive: a connection that waits for another request moves, and goes on waiting as long as it may.
func TestMoveKeptAlive(t *testing.T) {
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	cfg := Config{KeepAlive: patience, HandshakeTimeout: 30 * time.Millisecond}
	p.here, p.there = startHTTP(t, cfg, nil), startHTTP(t, cfg, nil)
	c := p.here.connect(t, plainRequest)
	c.wantPlain()
	p.here.returned(t, 1)
	for range 3 {
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved, want 1", n)
		}
		<-time.After(2 * cfg.HandshakeTimeout)
		c.write([]byte(plainRequest))
		c.wantPlain()
		p.here.returned(t, 1)
	}
}

package engine

import (
	"net/http"
	"testing"
)

// TestKeptIsNoHandshake: connections that are kept alive count as HTTP connections and are not closed for new sockets.
// One that has begun its next head may be, like any other.
func TestKeptIsNoHandshake(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive, cfg.HandshakeTimeout, cfg.MaxHandshakes = patience, patience, 2
		f := startHTTP(t, cfg, nil)
		kept := make([]*peer, 3)
		for i := range kept {
			kept[i] = f.connect(t, plainRequest)
			kept[i].wantPlain()
		}
		f.returned(t, len(kept))
		for n := range 4 {
			f.connect(t, "")
			until(t, "it was accepted", func() bool { return f.Stats().Accepted == uint64(len(kept)+n+1) })
		}
		// A socket counts as accepted just before another one is closed for it.
		until(t, "only two sockets in their handshake are left", func() bool { return f.Stats().Handshaking == 2 })
		if got := f.Stats(); got.HTTPConnections != 3 || got.Handshaking != 2 || got.Limits["silent"] != 2 {
			t.Errorf("got %d of HTTP, %d handshakes, limits %v; want 3, 2 and 2 silent",
				got.HTTPConnections, got.Handshaking, got.Limits)
		}
		kept[0].write([]byte(plainRequest))
		kept[0].wantPlain()
		if got := f.Stats(); got.Handshaking != 2 {
			t.Errorf("a whole request left %d silent sockets of 2", got.Handshaking)
		}
		kept[1].write([]byte("\r\n" + plainRequest[:10]))
		until(t, "a silent socket has given way", func() bool { return f.Stats().Limits["silent"] == 3 })
		if got := f.Stats(); got.HTTPConnections != 2 || got.Handshaking != 2 {
			t.Errorf("with half a head: got %d of HTTP, %d handshakes, want 2 and 2", got.HTTPConnections, got.Handshaking)
		}
		kept[1].write([]byte(plainRequest[10:]))
		kept[1].wantPlain()
		kept[2].write([]byte(plainRequest))
		kept[2].wantPlain()
		if got := f.Stats(); got.HTTPConnections != 3 || got.Handshaking != 1 {
			t.Errorf("in the end: got %d of HTTP, %d handshakes, want 3 and 1", got.HTTPConnections, got.Handshaking)
		}
	})
}

// TestKeptGivesWay: beyond Config.MaxHTTPConnections, the connection that has been idle for longest is closed for a new
// request. One with a request is not.
func TestKeptGivesWay(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive, cfg.MaxHTTPConnections = patience, 2
		begun := make(chan bool)
		f := startHTTP(t, cfg, func(http.ResponseWriter, *http.Request) { begun <- true; <-begun })
		first := f.connect(t, plainRequest)
		first.wantPlain()
		f.returned(t, 1)
		second := f.connect(t, plainRequest)
		second.wantPlain()
		f.returned(t, 2)
		busy := f.connect(t, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
		<-begun
		first.wantEnd()
		third := f.connect(t, plainRequest)
		third.wantPlain()
		second.wantEnd()
		until(t, "the third is idle", func() bool {
			f.requestsMu.Lock()
			defer f.requestsMu.Unlock()
			return len(f.lingering) == 1 || len(f.requests) == 1
		})
		fourth := f.connect(t, plainRequest) // net/http probably still has the third
		fourth.wantPlain()
		third.wantEnd()
		begun <- true
		busy.wantStatus(http.StatusOK)
		f.returned(t, 2)
		if got := f.Stats().Limits["http_connections"]; got != 3 {
			t.Errorf("http_connections: got %d, want 3", got)
		}
	})
}

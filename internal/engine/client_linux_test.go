package engine

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

// TestMoveBehindProxies: a connection moves in the middle of its PROXY header, after it, before its next request and when
// it is open, and its requests have the same clients as without a move.
func TestMoveBehindProxies(t *testing.T) {
	header := proxy2("10.1.1.1:5000", tlsField)
	cfg := Config{KeepAlive: patience, HandshakeTimeout: patience}
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	p.here, p.there = startBehind(t, cfg, behindHeader(t)), startBehind(t, cfg, behindHeader(t))
	move := func() {
		t.Helper()
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved, want 1", n)
		}
	}
	c := p.here.connect(t, "")
	read := 0
	send := func(s string) {
		t.Helper()
		c.write([]byte(s))
		read += len(s)
		until(t, "it was read", func() bool { return p.here.Stats().BytesIn+p.there.Stats().BytesIn == uint64(read) })
	}
	until(t, "it was accepted", func() bool { return p.here.Stats().Accepted == 1 })
	move()
	send(header[:10])
	move()
	send(header[10:30])
	move()
	send(header[30:])
	move()
	request := fields(plainRequest, "X-Forwarded-For: 192.0.2.1")
	send(request[:10])
	move()
	c.write([]byte(request[10:]))
	c.wantAnswer("192.0.2.1:0", "https")
	p.here.returned(t, 1)
	move()
	c.write([]byte(fields(plainRequest, "X-Forwarded-For: 192.0.2.2")))
	c.wantAnswer("192.0.2.2:0", "https")
	p.here.returned(t, 1)
	move()
	c.write([]byte(upgrade("X-Forwarded-For: 192.0.2.3")))
	c.wantClient("192.0.2.3:0", "https")
	move()
	c.send(ws.OpText, nil)
	c.want(ws.OpText, []byte("192.0.2.3:0"))
}

// TestMoveForgedHeader: a connection whose header was read is not asked for another one by the next worker.
func TestMoveForgedHeader(t *testing.T) {
	cfg := Config{KeepAlive: patience, HandshakeTimeout: patience}
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	p.here, p.there = startBehind(t, cfg, behindHeader(t)), startBehind(t, cfg, behindHeader(t))
	for _, after := range []string{"", plainRequest} {
		c := p.here.connect(t, proxy1("192.0.2.1:5000")+after)
		if after != "" {
			c.wantAnswer("192.0.2.1:5000", "")
			p.here.returned(t, 1)
		} else {
			until(t, "it was read", func() bool { return p.here.Stats().BytesIn > 0 })
		}
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved, want 1", n)
		}
		c.write([]byte(proxy1("6.6.6.6:1") + upgrade()))
		c.wantStatus(http.StatusBadRequest)
		_ = c.conn.Close()
		until(t, "it is closed", func() bool { return p.here.Stats().Handshaking == 0 })
	}
}

// TestMoveCountsClients: the clients of proxies are counted in the next worker, too, and the proxies are not.
func TestMoveCountsClients(t *testing.T) {
	cfg := Config{MaxPerAddress: 1}
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	p.here, p.there = startBehind(t, cfg, loopback(t)), startBehind(t, cfg, loopback(t))
	const field = "X-Forwarded-For: 192.0.2.1"
	p.here.connect(t, upgrade(field)).wantClient("192.0.2.1:0", "")
	p.here.connect(t, upgrade("X-Forwarded-For: x")).wantStatus(http.StatusSwitchingProtocols)
	p.here.connect(t, upgrade()).wantStatus(http.StatusSwitchingProtocols)
	if n := p.move(); n != 3 {
		t.Fatalf("%d connections moved, want 3", n)
	}
	p.here.connect(t, upgrade(field)).wantStatus(http.StatusTooManyRequests)
	p.here.connect(t, upgrade("X-Forwarded-For: y")).wantStatus(http.StatusTooManyRequests)
	p.here.connect(t, upgrade()).wantStatus(http.StatusSwitchingProtocols)
	p.here.connect(t, upgrade("X-Forwarded-For: 192.0.2.2")).wantClient("192.0.2.2:0", "")
}

// TestMoveEndsTrust: a kept connection of a proxy counts as its client in a worker that does not trust the proxy.
func TestMoveEndsTrust(t *testing.T) {
	cfg := Config{MaxPerAddress: 1, KeepAlive: patience}
	p := &pair{t: t, ready: make(chan struct{}, 1)}
	p.here, p.there = startBehind(t, cfg, loopback(t)), startBehind(t, cfg, Proxies{})
	for range 2 {
		c := p.here.connect(t, plainRequest)
		c.wantStatus(http.StatusOK)
	}
	p.here.returned(t, 2)
	if n := p.move(); n != 2 {
		t.Fatalf("%d connections moved, want 2", n)
	}
	p.here.connect(t, upgrade()).wantStatus(http.StatusTooManyRequests)
}

// TestUnixProxyMustNameItsClient: over a Unix socket, a request whose fields are wrong has no address at all, and would
// evade the limits.
func TestUnixProxyMustNameItsClient(t *testing.T) {
	f := startBehind(t, Config{MaxPerAddress: 1}, Proxies{All: true})
	for _, tt := range []struct {
		field string
		want  int
	}{
		{"X-Forwarded-For: x", http.StatusBadRequest},
		{"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2", http.StatusBadRequest},
		{"X-Forwarded-For: 192.0.2.1", http.StatusSwitchingProtocols},
		{"X-Forwarded-For: 192.0.2.1", http.StatusTooManyRequests},
		{"X-Other: 1", http.StatusSwitchingProtocols},
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.AddFDs(fds[:1], []string{""})
		file := os.NewFile(uintptr(fds[1]), "client")
		t.Cleanup(func() { _ = file.Close() })
		if _, err := file.WriteString(upgrade(tt.field)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 12)
		if _, err := io.ReadFull(file, b); err != nil || string(b[9:]) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %q, %v; want %d", tt.field, b, err, tt.want)
		}
	}
}

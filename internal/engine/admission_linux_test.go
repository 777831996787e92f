package engine

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

// TestMaxPerAddressMoves: connections that arrive from another worker are counted there and not refused; those that
// have left no longer count.
func TestMaxPerAddressMoves(t *testing.T) {
	var ids atomic.Uint64
	cfg := Config{NewID: func() uint64 { return ids.Add(1) }, MaxPerAddress: 2}
	routes := func() map[string]*Route { return map[string]*Route{"/": {Handler: echo}} }
	p := &pair{t: t, here: start(t, cfg, routes()), there: start(t, cfg, routes()), ready: make(chan struct{}, 1)}
	moving := []*peer{p.here.dial(t, "/"), p.here.dial(t, "/")}
	stays := p.there.dial(t, "/")
	p.move()
	for _, c := range append(moving, stays) {
		c.send(ws.OpText, []byte("x"))
		c.want(ws.OpText, []byte("x"))
	}
	p.here.connect(t, "").wantStatus(http.StatusTooManyRequests)
	p.there.dial(t, "/")
	p.there.dial(t, "/")
	_ = moving[0].conn.Close()
	until(t, "it has left", func() bool { return p.here.Len() == 2 })
	p.here.connect(t, "").wantStatus(http.StatusTooManyRequests)
	_ = stays.conn.Close()
	until(t, "it has left", func() bool { return p.here.Len() == 1 })
	p.here.dial(t, "/")
}

// TestSilentSocketsMove: sockets that arrived from another worker are closed to make room like any others.
func TestSilentSocketsMove(t *testing.T) {
	var ids atomic.Uint64
	cfg := Config{NewID: func() uint64 { return ids.Add(1) }, MaxHandshakes: 4, HandshakeTimeout: patience}
	routes := func() map[string]*Route { return map[string]*Route{"/": {Handler: echo}} }
	p := &pair{t: t, here: start(t, cfg, routes()), there: start(t, cfg, routes()), ready: make(chan struct{}, 1)}
	silent := make([]*peer, 4)
	for i := range silent {
		silent[i] = p.here.connect(t, "")
	}
	until(t, "all are here", func() bool { return p.here.Stats().Handshaking == len(silent) })
	p.move()
	p.here.dial(t, "/")
	if got := p.here.Stats(); got.Limits["silent"] != 1 || got.Handshaking != 3 {
		t.Errorf("limits %v, %d left; want one silent and 3", got.Limits, got.Handshaking)
	}
}

// TestResetSocketsAreNoNews: sockets that their clients have reset before they reach the engine are not logged.
func TestResetSocketsAreNoNews(t *testing.T) {
	f := start(t, Config{WatchdogLimit: -1}, map[string]*Route{"/": {Handler: echo}}) // an overloaded machine is news
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const count = 50
	fds := make([]int, count)
	for i := range fds {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		file, err := server.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		fds[i] = dupAll(t, []int{int(file.Fd())})[0]
		if err := unix.SetNonblock(fds[i], true); err != nil {
			t.Fatal(err)
		}
		_ = client.(*net.TCPConn).SetLinger(0)
		_ = client.Close()
		_, _ = server.Read(make([]byte, 1)) // until the reset has arrived
		_, _ = file.Close(), server.Close()
	}
	if !f.AddFDs(fds, nil) {
		t.Fatal("the engine has ended")
	}
	until(t, "all are known to be gone", func() bool { return f.Stats().Resets == count })
	if lines := strings.Count(fmt.Sprint(f.logs), "\n"); lines != 0 {
		t.Errorf("%d lines were written, want none", lines)
	}
}

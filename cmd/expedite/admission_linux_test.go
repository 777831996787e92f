package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// healthy requests /healthz and /readyz on new connections.
func (s *server) healthy(t *testing.T) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := client.Get("http://" + s.addr + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s, want 200", path, r.Status)
		}
	}
}

// TestIdleSocketsKeepNobodyOut checks that clients and health checks are served although silent sockets and requests
// without their bodies take all slots, and that status reports it.
func TestIdleSocketsKeepNobodyOut(t *testing.T) {
	s := serve(t, "--workers", "2", "--max-handshakes", "16", "--max-http-connections", "4")
	for range 100 {
		s.raw(t, "")
	}
	for range 40 {
		s.raw(t, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 4 {
		s.healthy(t)
		s.mustDial(ctx, "/echo")
	}
	s.await("status tells", func(st control.Status) bool {
		limits := st.Totals.Limits
		return st.Totals.HTTPConnections == 8 && limits["silent"] > 0 && limits["http_connections"] > 0
	})
}

// TestMaxPerAddressFlag checks that --max-per-address refuses one more connection with 429.
func TestMaxPerAddressFlag(t *testing.T) {
	s := serve(t, "--workers", "1", "--max-per-address", "3")
	for range 3 {
		s.raw(t, "")
	}
	c := s.raw(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 429 ")) {
		t.Errorf("got %q, %v; want 429", answer, err)
	}
}

// TestStormOfResetsIsQuiet checks that clients that connect and reset at once do not fill the log.
func TestStormOfResetsIsQuiet(t *testing.T) {
	s := serve(t, "--workers", "2", "--log-level", "debug", "--log-sample", "5")
	before := bytes.Count([]byte(fmt.Sprint(s.output)), []byte("\n"))
	const count = 3000
	began := time.Now()
	for i := range count {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	s.healthy(t)
	seconds := int(time.Since(began)/time.Second) + 2
	if lines := bytes.Count([]byte(fmt.Sprint(s.output)), []byte("\n")) - before; lines > 2*7*seconds {
		t.Errorf("%d resets within %d s wrote %d lines, want 5 a second and worker, and what was left out", count, seconds, lines)
	}
}

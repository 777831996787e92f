package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// plainly sends a head to an address or a Unix socket, and returns status and Location of the answer.
func plainly(t *testing.T, at, head string) (status int, location string) {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(at, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("%s, %q: %v", at, head, err)
		return 0, ""
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

// TestRedirectToTLS: with --tls-redirect, addresses with http:// only redirect: also what wants a WebSocket, and also
// behind proxies, unless a trusted one says that its client has used TLS. Health checks, challenges of authorities, and
// Unix sockets are left alone.
func TestRedirectToTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	socket := filepath.Join(t.TempDir(), "s")
	s := a.serve("--workers", "1", "--tls-redirect", "--addr", "http://localhost:0", "--addr", "http://127.0.0.2:0?trusted",
		"--addr", "http://127.0.0.3:0?trusted&proxy-protocol", "--addr", "unix:"+socket)
	st := s.await("it listens", func(st control.Status) bool { return len(st.Listeners) == 5 })
	const upgrade = "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	at := make(map[string]string)
	for _, l := range st.Listeners {
		switch host, _, _ := net.SplitHostPort(l.Address); {
		case l.Network == "unix":
			at["unix"] = socket
		case l.TLS:
		case host == "127.0.0.2":
			at["trusted"] = l.Address
		case l.Proxy:
			at["header"] = l.Address
		default:
			at["plain"] = l.Address
		}
	}
	for _, tt := range []struct {
		at, head string
		status   int
		location string
	}{
		{"plain", "GET /a?b=c HTTP/1.1\nHost: a.example:8080", 308, "https://a.example/a?b=c"},
		{"plain", "POST /a HTTP/1.1\nHost: a.example\nContent-Length: 0", 308, "https://a.example/a"},
		{"plain", "GET /echo?token=x HTTP/1.1\nHost: a.example" + upgrade, 308, "https://a.example/echo?token=x"},
		{"plain", "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-Proto: https", 308, "https://a.example/"},
		{"plain", "GET / HTTP/1.1\nHost: me@evil.example", 400, ""},
		{"plain", "GET / HTTP/1.0", 400, ""},
		{"plain", "GET / HTTP/1.0\nHost: a.example", 308, "https://a.example/"},
		{"plain", "GET /healthz HTTP/1.1\nHost: a.example", 200, ""},
		{"plain", "GET /readyz HTTP/1.0", 200, ""},
		{"plain", "GET /readyz/ HTTP/1.1\nHost: a.example", 308, "https://a.example/readyz/"},
		{"plain", "GET /.well-known/acme-challenge/token HTTP/1.1\nHost: a.example", 404, ""},
		{"plain", "GET /.well-known/acme-challenge/../x HTTP/1.1\nHost: a.example", 308, "https://a.example/.well-known/acme-challenge/../x"},
		{"trusted", "GET / HTTP/1.1\nHost: a.example", 308, "https://a.example/"},
		{"trusted", "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http", 308, "https://a.example/"},
		{"trusted", "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https", 200, ""},
		{"trusted", "GET /echo HTTP/1.1\nHost: a.example\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https" + upgrade, 101, ""},
		{"trusted", "GET /echo HTTP/1.1\nHost: a.example\nX-Forwarded-For: 192.0.2.1" + upgrade, 308, "https://a.example/echo"},
		{"header", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\nHost: a.example", 308, "https://a.example/"},
		{"unix", "GET / HTTP/1.1\nHost: a.example", 200, ""},
		{"unix", "GET /echo HTTP/1.1\nHost: a.example" + upgrade, 101, ""},
	} {
		if status, location := plainly(t, at[tt.at], tt.head); status != tt.status || location != tt.location {
			t.Errorf("%s, %q: got %d %q, want %d %q", tt.at, tt.head, status, location, tt.status, tt.location)
		}
	}
}

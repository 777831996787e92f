package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// haproxyConfig has plain checks, which HAProxy sends as HTTP/1.0 without Host, and reuses connections to the server.
const haproxyConfig = `
global
	stats socket %[1]s/stats mode 600
defaults
	mode http
	timeout check 30s
	timeout connect 30s
	timeout client 30s
	timeout server 30s
	timeout tunnel 30s
	http-reuse always
frontend clients
	bind unix@%[1]s/clients
	default_backend servers
backend servers
	option httpchk GET /healthz
	server one %[2]s check inter 100ms fall 2 rise 1
`

// haproxy is a HAProxy in front of one server.
type haproxy struct {
	t   *testing.T
	dir string
}

// startHAProxy starts a HAProxy that ends with the test.
func startHAProxy(t *testing.T, server string) *haproxy {
	t.Helper()
	h := &haproxy{t: t, dir: t.TempDir()}
	file := filepath.Join(h.dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, h.dir, server), 0o600); err != nil {
		t.Fatal(err)
	}
	output := &syncBuffer{}
	cmd := exec.Command(findTool(t, "haproxy", "/usr/sbin/haproxy"), "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of HAProxy:\n%s", output)
		}
	})
	return h
}

// haproxyClient is a client of HAProxy that sends several requests on one connection.
type haproxyClient struct {
	net.Conn
	in *bufio.Reader
}

func (h *haproxy) dial() *haproxyClient {
	h.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(h.dir, "clients"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		h.t.Fatal(err)
	}
	return &haproxyClient{conn, bufio.NewReader(conn)}
}

// wantStatus sends a request and reads its response.
func (c *haproxyClient) wantStatus(t *testing.T, request string, want int) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want != http.StatusSwitchingProtocols {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%q: got %s, %v, want %d", request, resp.Status, err, want)
	}
}

// wantEcho sends a message on a WebSocket and waits for the echo.
func (c *haproxyClient) wantEcho(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, masked(0x81, text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	frame := make([]byte, 2+len(text))
	if _, err := io.ReadFull(c.in, frame); err != nil || string(frame[2:]) != text {
		t.Fatalf("got %q, %v, want %q", frame, err, text)
	}
}

// stats returns what HAProxy reports about the server.
func (h *haproxy) stats() map[string]string {
	conn, err := net.Dial("unix", filepath.Join(h.dir, "stats"))
	if err != nil {
		return nil // not yet
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return nil
	}
	r := csv.NewReader(conn)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		h.t.Fatalf("show stat: %v, %v", rows, err)
	}
	for _, row := range rows[1:] {
		if len(row) == len(rows[0]) && row[0] == "servers" && row[1] == "one" {
			stats := make(map[string]string, len(row))
			for i, name := range rows[0] {
				stats[name] = row[i]
			}
			return stats
		}
	}
	h.t.Fatalf("HAProxy knows no server: %v", rows)
	return nil
}

// wantServer waits until a check has found the server UP or DOWN.
func (h *haproxy) wantServer(status string) {
	h.t.Helper()
	eventually(h.t, "HAProxy finds the server "+status, func() bool {
		st := h.stats() // a server is UP before its first check, too
		return st["status"] == status && (status == "UP") == (st["check_status"] == "L7OK")
	})
}

// TestHAProxy checks that a HAProxy with its plain health check finds the server up, and down after it was stopped or
// killed; that WebSockets pass, even on a connection to the server that has carried a request; and that a reload ends
// none.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	s := serveAt(t, "127.35.0.1:0", "--workers", "2")
	h := startHAProxy(t, s.addr)
	h.wantServer("UP")

	later := h.dial()
	for range 2 {
		later.wantStatus(t, "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n", http.StatusOK)
	}
	later.wantStatus(t, handshake("/echo"), http.StatusSwitchingProtocols)
	later.wantEcho(t, "third request of a connection")
	if st := h.stats(); st["connect"] != "1" || st["reuse"] != "2" {
		t.Errorf("connections to the server: got %s with %s further requests, want 1 with 2", st["connect"], st["reuse"])
	}
	first := h.dial()
	first.wantStatus(t, handshake("/echo"), http.StatusSwitchingProtocols)
	first.wantEcho(t, "first request of a connection")

	if out, err := exec.Command(command, "reload", "--canary", "0s", "--control", s.control).CombinedOutput(); err != nil {
		t.Errorf("reload: %v: %s", err, out)
	}
	first.wantEcho(t, "after a reload")
	later.wantEcho(t, "after a reload")
	if st := h.stats(); st["chkfail"] != "0" || st["status"] != "UP" {
		t.Errorf("after a reload: %s, %s checks failed, the last one says %s; want UP and 0",
			st["status"], st["chkfail"], st["check_status"])
	}
	h.wantAway(s)
}

// wantAway stops the server, starts it again, and kills it.
func (h *haproxy) wantAway(s *server) {
	h.t.Helper()
	if out, err := exec.Command(command, "stop", "--control", s.control).CombinedOutput(); err != nil {
		h.t.Errorf("stop: %v: %s", err, out)
	}
	h.wantServer("DOWN")
	s.waitEnd()
	again := serveAt(h.t, s.addr, "--workers", "2")
	h.wantServer("UP")
	again.signal(syscall.SIGKILL)
	h.wantServer("DOWN")
}

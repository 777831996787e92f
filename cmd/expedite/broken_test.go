package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// handshake returns a valid opening handshake for a path.
func handshake(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// masked returns a client's frame with a masking key of zero, so that its payload is readable.
func masked(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// raw opens a TCP connection and sends bytes.
func (s *server) raw(t *testing.T, bytes string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	return conn
}

// bystander starts a client that exchanges echoes until the test ends, and must not notice the errors of others.
func (s *server) bystander(t *testing.T) {
	t.Helper()
	// The context of the test would end before the cleanup.
	ctx, cancel := context.WithCancel(context.Background())
	c := s.mustDial(ctx, "/echo")
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		for {
			if err := c.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
				ended <- err
				return
			}
			if _, b, err := c.Read(ctx); err != nil || string(b) != "still here" {
				ended <- fmt.Errorf("read %q, %w", b, err)
				return
			}
		}
	}()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("another client noticed: %v", err)
		default:
		}
		cancel()
		for range ended { // the test ends them
		}
	})
}

// TestRefusedHandshakes checks that invalid requests get the HTTP status that the RFC names.
func TestRefusedHandshakes(t *testing.T) {
	s := serve(t, "--workers", "1")
	s.bystander(t)
	good := handshake("/echo")
	tests := []struct {
		name, request string
		want          int
	}{
		{"valid", good, 101},
		{"key of 15 bytes", strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 1), 400},
		{"key is no base64", strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!==", 1), 400},
		{"no key", strings.Replace(good, "Sec-WebSocket-Key", "X-Key", 1), 400},
		{"two keys", strings.Replace(good, "\r\n\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 1), 400},
		{"version 8", strings.Replace(good, "Version: 13", "Version: 8", 1), 426},
		{"no version", strings.Replace(good, "Sec-WebSocket-Version", "X-Version", 1), 426},
		{"no Connection: upgrade", strings.Replace(good, "Connection: Upgrade", "Connection: close", 1), 400},
		{"no host", strings.Replace(good, "Host: test\r\n", "", 1), 400},
		{"space before the colon", strings.Replace(good, "Host:", "Host :", 1), 400},
		{"head of 20,000 bytes", strings.Replace(good, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 20000)+"\r\n\r\n", 1), 431},
		{"unknown path", handshake("/nowhere"), 404},
		{"no upgrade at all", "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n", 200},
		{"no upgrade on an endpoint", "GET /echo HTTP/1.1\r\nHost: test\r\n\r\n", 426},
		{"the page", "GET / HTTP/1.1\r\nHost: test\r\n\r\n", 200},
		{"not HTTP", "hello\r\n\r\n", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := http.ReadResponse(bufio.NewReader(s.raw(t, tt.request)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.want {
				body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
				t.Errorf("got %s %q, want %d", resp.Status, body, tt.want)
			}
			if tt.want == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("a 426 names the version: got %q, want 13", resp.Header.Get("Sec-WebSocket-Version"))
			}
		})
	}
}

// TestBrokenFrames checks that a client that violates a rule gets the close code that the RFC names, and then the end.
func TestBrokenFrames(t *testing.T) {
	s := serve(t, "--workers", "1")
	s.bystander(t)
	tests := []struct {
		name, frames string
		want         int
	}{
		{"unmasked frame", "\x81\x01x", 1002},
		{"reserved bit", masked(0xc1, "x"), 1002},
		{"reserved opcode", masked(0x83, "x"), 1002},
		{"invalid UTF-8", masked(0x81, "ok\xff"), 1007},
		{"invalid UTF-8 in a frame that is not complete", "\x81\xfe\x10\x00\x00\x00\x00\x00ok\xff", 1007},
		{"text ends in the middle of a character", masked(0x81, "\xe2\x82"), 1007},
		{"length with the top bit", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", 1002},
		{"message of 2 MiB", "\x82\xff\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00", 1009},
		{"length not minimal", "\x82\xfe\x00\x01\x00\x00\x00\x00x", 1002},
		{"continuation of nothing", masked(0x80, "x"), 1002},
		{"second message inside a first", masked(0x01, "x") + masked(0x81, "y"), 1002},
		{"fragmented ping", masked(0x09, "x"), 1002},
		{"ping of 126 bytes", masked(0x89, strings.Repeat("x", 126)), 1002},
		{"close of one byte", masked(0x88, "\x03"), 1002},
		{"close with 1005", masked(0x88, "\x03\xed"), 1002},
		{"close with a reason that is no text", masked(0x88, "\x03\xe8\xff"), 1007},
		{"endless fragments", masked(0x01, "x") + strings.Repeat(masked(0x00, "x"), 2000), 1008},
		{"a proper close", masked(0x88, "\x03\xe8bye"), 1000},
		{"a close without a code", masked(0x88, ""), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := s.raw(t, handshake("/echo"))
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 101 {
				t.Fatal(resp, err)
			}
			if _, err := io.WriteString(conn, tt.frames); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(in)
			if err != nil {
				t.Fatalf("the connection broke before its last word: %v", err)
			}
			if got := closeCode(rest); got != tt.want {
				t.Errorf("got close code %d (bytes %x), want %d", got, rest, tt.want)
			}
		})
	}
}

// closeCode returns the code of the close frame b, 0 if it has none, or -1 if b is not a close frame.
func closeCode(b []byte) int {
	switch {
	case len(b) < 2 || b[0] != 0x88 || int(b[1]) != len(b)-2:
		return -1
	case b[1] < 2:
		return 0
	default:
		return int(binary.BigEndian.Uint16(b[2:]))
	}
}

// TestResetInTheMiddle resets sockets during a handshake, within a frame and with queued replies.
func TestResetInTheMiddle(t *testing.T) {
	s := serve(t, "--workers", "1")
	s.bystander(t)
	starts := []string{
		handshake("/echo")[:40],
		handshake("/echo"),
		handshake("/echo") + "\x82\xfe\x10\x00",
		handshake("/echo") + strings.Repeat(masked(0x82, strings.Repeat("x", 60000)), 20),
	}
	for _, start := range starts {
		for range 10 {
			conn := s.raw(t, start)
			if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.await("only the bystander is left", func(st control.Status) bool { return st.Totals.Connections == 1 })
}

// TestHalfHeads checks that heads that never end delay no other client.
func TestHalfHeads(t *testing.T) {
	s := serve(t, "--workers", "1")
	for range 100 {
		s.raw(t, "GET / HT")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := s.mustDial(ctx, "/")
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(ctx); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Errorf("got %q, %v; want hello", b, err)
	}
}

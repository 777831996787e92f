package redisconn

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProbeOfOthers: a server that is no Redis, or does not answer, is a short error.
func TestProbeOfOthers(t *testing.T) {
	for _, tt := range []struct{ name, answer, says string }{
		{"a web server", "HTTP/1.1 400 Bad Request\r\n\r\n", "no Redis"},
		{"nothing", "", "no Redis"},
		{"half an answer", "$100\r\nmaxmem", "no Redis"},
		{"a length below 0", "$-5\r\n", "no Redis"},
		{"a length beyond all bounds", "$99999999999999999999\r\n", "no Redis"},
		{"an endless list", "*99999999999\r\n", "no Redis"},
		{"an empty line first", "\r\n+OK\r\n", "no Redis"},
		{"empty lines only", "\r\n", "no Redis"},
		{"a line feed only", "\n", "no Redis"},
		{"a map with a length below 0", "%1\r\n$-5\r\n", "no Redis"},
		{"a map with an endless value", "%1\r\n+a\r\n$9999999999\r\n", "no Redis"},
		{"a map of less than nothing", "%-1\r\n", "no Redis"},
		{"a value hidden behind a null", "*2\r\n_$$$-5\r\n", "no Redis"},
		{"a list in a list without end", strings.Repeat("*1\r\n", 50_000), "no Redis"},
		{"a wrong password", "-WRONGPASS invalid username-password pair\r\n", "refuses the password"},
		{"no password", "-NOAUTH Authentication required.\r\n", "wants a password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { // ends with the listener
				defer close(ended)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					b := make([]byte, 1024)
					n, _ := conn.Read(b)
					commands := bytes.Count(append([]byte("\n"), b[:n]...), []byte("\n*")) // each has an answer
					_, _ = io.WriteString(conn, strings.Repeat(tt.answer, commands))
					_ = conn.Close()
				}
			}()
			defer func() { _ = ln.Close(); <-ended }()
			p, err := NewProbe("redis://" + ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if p.Address != ln.Addr().String() {
				t.Errorf("address %q, want %q", p.Address, ln.Addr())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := p.Memory(ctx); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// TestProbeOfSilence: a probe waits for a silent server until its context ends.
func TestProbeOfSilence(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p, err := NewProbe("redis://:secret@" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Memory(ctx); err == nil || err.Error() != "does not answer in time" {
		t.Errorf("got %v, want that it does not answer", err)
	}
}

// FuzzRESP: the result does not depend on how a stream is divided, and no stream makes the checker panic.
func FuzzRESP(f *testing.F) {
	for _, s := range []string{
		"\r\n", "%1\r\n+a\r\n:1\r\n", "*2\r\n$3\r\nabc\r\n_\r\n", "-ERR\r\n", "*-1\r\n", "+OK\r\n$-5\r\n", "%99999999999999999999\r\n",
	} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		var whole, pieces respChecker
		want := whole.next(b)
		var got error
		for piece := range slices.Chunk(b, max(size, 1)) {
			if got = pieces.next(piece); got != nil {
				break
			}
		}
		if (got == nil) != (want == nil) {
			t.Errorf("in pieces of %d: %v, at once: %v", size, got, want)
		}
		if whole.skip < 0 || whole.elements > maxProbeElements {
			t.Errorf("skips %d, %d elements", whole.skip, whole.elements)
		}
	})
}

package engine

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestExtent(t *testing.T) {
	const head = "HEAD"
	for _, tt := range []struct {
		name   string
		length int64
		body   string
		ok     bool
	}{
		{"no body", 0, "", true},
		{"a body", 5, "hello", true},
		{"no chunks", -1, "0\r\n\r\n", true},
		{"chunks", -1, "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n", true},
		{"zeros before a size", -1, "0005\r\nhello\r\n00\r\n\r\n", true},
		{"extensions", -1, "5;a=\"\xff\"\r\nhello\r\n0 ; b\r\n\r\n", true},
		{"trailers", -1, "0\r\nA: b\r\nC: d\r\n\r\n", true},
		{"no size", -1, "\r", false},
		{"size that is no number", -1, "x", false},
		{"negative size", -1, "-", false},
		{"size with a sign", -1, "+", false},
		{"extension without a size", -1, ";", false},
		{"size that is too long", -1, "1000000000000000", false},
		{"bare line feed after a size", -1, "5\n", false},
		{"bare line feed in an extension", -1, "5;a\n", false},
		{"bare carriage return after a size", -1, "5\rh", false},
		{"data beyond the size", -1, "1\r\nab", false},
		{"bare line feed after data", -1, "1\r\na\n", false},
		{"bare carriage return after data", -1, "1\r\na\r0", false},
		{"bare line feed in a trailer", -1, "0\r\nA: b\n", false},
		{"bare carriage return in a trailer", -1, "0\r\nA\rb", false},
		{"bare line feed instead of a trailer", -1, "0\r\n\n", false},
		{"bare carriage return at the end", -1, "0\r\n\rx", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := []byte(head + tt.body)
			for step := 1; step <= len(b)+9; step++ {
				x := newExtent(len(head), tt.length)
				end, err := takeAll(&x, append(bytes.Clone(b), "GET / HTT"...), step)
				want := len(b)
				if !tt.ok {
					want--
				}
				if end != want || (err == nil) != tt.ok || x.over() != tt.ok {
					t.Fatalf("in steps of %d: got %d, %v, over %v; want %d", step, end, err, x.over(), want)
				}
			}
		})
	}
}

// takeAll passes b to x in pieces of step bytes and returns where the request ends.
func takeAll(x *extent, b []byte, step int) (end int, err error) {
	for end < len(b) && !x.over() {
		piece := b[end:min(end+step, len(b))]
		n, err := x.take(piece)
		if end += n; err != nil {
			return end, err
		}
		if n < len(piece) && !x.over() {
			return end, errChunk
		}
	}
	return end, nil
}

// FuzzExtent verifies that chunked bodies end where net/http ends them, however they are cut.
func FuzzExtent(f *testing.F) {
	f.Add([]byte("5;x\r\nhello\r\n0\r\nA: b\r\n\r\nGET"), 3)
	f.Add([]byte("0\r\n\r\n"), 1)
	f.Add([]byte("5 \r\nhello\r\n0\r\n\n\r\n\r\n"), 100)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		x := newExtent(0, -1)
		x.stage = inSize
		whole := x
		end, err := takeAll(&x, b, max(step, 1))
		if at, err2 := takeAll(&whole, b, len(b)+1); at != end || (err == nil) != (err2 == nil) || x != whole {
			t.Fatalf("in pieces: %d, %v; at once: %d, %v", end, err, at, err2)
		}
		if err != nil || !x.over() {
			return
		}
		const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		in := bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(b)))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // net/http is stricter
		}
		rest, err := io.ReadAll(in)
		if err != nil || len(b)-len(rest) != end {
			t.Fatalf("got the end at %d, net/http has it at %d (%v)", end, len(b)-len(rest), err)
		}
	})
}

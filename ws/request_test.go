package ws

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHeadEndIsFoundFromAnyEarlierLength(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nframes\r\n\r\n")
	const end = 27
	for n := range len(head) + 1 {
		for from := range min(n, end-1) + 1 {
			want := -1
			if n >= end {
				want = end
			}
			if got := HeadEnd(head[:n], from); got != want {
				t.Fatalf("%d bytes from %d: got %d, want %d", n, from, got, want)
			}
		}
	}
}

func TestHeadEndTakesAnyFrom(t *testing.T) {
	for _, from := range []int{-5, 4, 100} {
		if got := HeadEnd([]byte("abc"), from); got != -1 {
			t.Errorf("from %d: got %d, want -1", from, got)
		}
	}
}

func TestParseRequest(t *testing.T) {
	head := []byte("GET /a%20b/c?x=1&y=%20 HTTP/1.1\r\nhost: a.example:80\r\n" +
		"X-List: a,\t b\r\nx-list:c \r\nEmpty:\r\n\r\n")
	r, err := ParseRequest(head)
	if err != nil {
		t.Fatal(err)
	}
	clear(head) // the strings are copies
	if r.Method != "GET" || r.Target != "/a%20b/c?x=1&y=%20" || r.Path != "/a b/c" || r.RawQuery != "x=1&y=%20" {
		t.Errorf("got %q %q %q %q, want the parts of the request line", r.Method, r.Target, r.Path, r.RawQuery)
	}
	if r.Host != "a.example:80" || r.Minor != 1 {
		t.Errorf("got host %q, minor %d, want a.example:80, 1", r.Host, r.Minor)
	}
	if got, want := r.Values("X-LIST"), []string{"a,\t b", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.Get("x-List"); got != "a,\t b" {
		t.Errorf("got %q, want the first value", got)
	}
	if got := r.Get("none"); got != "" || len(r.Header) != 4 {
		t.Errorf("got %q and %d fields, want nothing and 4", got, len(r.Header))
	}
}

func TestParseRequestTakesEveryFormOfTarget(t *testing.T) {
	rows := []struct{ name, line, host, path, query string }{
		{"origin form", "GET /x HTTP/1.1", "a", "/x", ""},
		{"two slashes are a path, not a host", "GET //b/x HTTP/1.1", "a", "//b/x", ""},
		{"absolute form, whose host wins", "GET http://b:1/x?y HTTP/1.1", "b:1", "/x", "y"}, // RFC 9112 §3.2.2
		{"absolute form without a path", "GET http://b HTTP/1.1", "b", "/", ""},
		{"asterisk form", "OPTIONS * HTTP/1.1", "a", "", ""},
		{"authority form", "CONNECT b:443 HTTP/1.1", "a", "", ""},
		{"HTTP/1.0", "GET /x HTTP/1.0", "a", "/x", ""},
		{"HTTP/1.1 or higher", "GET /x HTTP/1.2", "a", "/x", ""}, // RFC 9112 §2.3
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, err := ParseRequest([]byte(row.line + "\r\nHost: a\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if r.Host != row.host || r.Path != row.path || r.RawQuery != row.query {
				t.Errorf("got %q %q %q, want %q %q %q", r.Host, r.Path, r.RawQuery, row.host, row.path, row.query)
			}
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	const line = "GET / HTTP/1.1\r\n"
	rows := []struct {
		name   string
		head   string // without the empty line at its end
		status int
	}{
		{"nothing", "", 400},
		{"no Host", "GET / HTTP/1.1", 400},
		{"two Hosts", line + "Host: a\r\nHost: a", 400},
		{"Host with a space", line + "Host: a b", 400},
		{"Host with a user", line + "Host: u@a", 400},
		{"Host with a path", line + "Host: a/b", 400},
		{"folded line", line + "Host: a\r\nX: a\r\n b", 400},       // RFC 9112 §5.2
		{"folded first line", line + " Host: a", 400},              // RFC 9112 §2.2
		{"space before the colon", line + "Host: a\r\nX : b", 400}, // RFC 9112 §5.1
		{"no colon", line + "Host: a\r\nX", 400},
		{"empty name", line + "Host: a\r\n: b", 400},
		{"name that is no token", line + "Host: a\r\nX@: b", 400},
		{"name beyond ASCII", line + "Host: a\r\nÄ: b", 400},
		{"bare line feed", line + "Host: a\nX: b", 400},
		{"bare carriage return", line + "Host: a\r\nX: a\rb", 400},
		{"NUL", line + "Host: a\r\nX: a\x00b", 400},
		{"DEL", line + "Host: a\r\nX: a\x7fb", 400},
		{"empty line within", line + "Host: a\r\n\r\nX: b", 400},
		{"empty line behind", line + "Host: a\r\n", 400},
		{"empty line before", "\r\n" + line + "Host: a", 400},
		{"no version", "GET /\r\nHost: a", 400},
		{"three spaces", "GET / x HTTP/1.1\r\nHost: a", 400},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a", 400},
		{"lower case version", "GET / http/1.1\r\nHost: a", 400},
		{"version of letters", "GET / HTTP/1.x\r\nHost: a", 400},
		{"version too long", "GET / HTTP/1.10\r\nHost: a", 400},
		{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a", 505},
		{"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a", 505},
		{"method that is no token", "G(T / HTTP/1.1\r\nHost: a", 400},
		{"target with a control byte", "GET /\x01 HTTP/1.1\r\nHost: a", 400},
		{"target beyond ASCII", "GET /ü HTTP/1.1\r\nHost: a", 400},
		{"target with a bad escape", "GET /%zz HTTP/1.1\r\nHost: a", 400},
		{"target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a", 400}, // RFC 6455 §3
		{"target without a slash", "GET a HTTP/1.1\r\nHost: a", 400},
		{"target of another scheme", "GET mailto:a HTTP/1.1\r\nHost: a", 400},
		{"absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: a", 400},
		{"absolute form with a user", "GET http://u@b/x HTTP/1.1\r\nHost: a", 400},
		{"too many fields", line + "Host: a" + strings.Repeat("\r\nX: y", maxFields), 431},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := ParseRequest([]byte(row.head + "\r\n\r\n"))
			var he *HandshakeError
			if !errors.As(err, &he) || he.Status != row.status {
				t.Errorf("got %v, want status %d", err, row.status)
			}
		})
	}
	if _, err := ParseRequest([]byte(line + "Host: a\r\n")); err == nil {
		t.Error("got no error, want a head without its end refused")
	}
}

func TestWantsUpgrade(t *testing.T) {
	rows := []struct {
		name, method, field string
		want                bool
	}{
		{"websocket", "GET", "Upgrade: websocket", true},
		{"any case", "GET", "uPGRADE: WebSocket", true},
		{"one of a list", "GET", "Upgrade: h2c ,\twebsocket", true},
		{"no GET", "POST", "Upgrade: websocket", false},
		{"another protocol", "GET", "Upgrade: h2c", false},
		{"part of a token", "GET", "Upgrade: websockets", false},
		{"no field", "GET", "X: websocket", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, err := ParseRequest([]byte(row.method + " / HTTP/1.1\r\nHost: a\r\n" + row.field + "\r\n\r\n"))
			if got := r.WantsUpgrade(); got != row.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, row.want)
			}
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET /chat?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
	f.Add([]byte("GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		r, err := ParseRequest(head)
		var he *HandshakeError
		if err != nil {
			if !errors.As(err, &he) || he.Status < 400 || he.Status > 599 {
				t.Fatalf("got %v, want a *HandshakeError with a status", err)
			}
			return
		}
		if HeadEnd(head, 0) != len(head) {
			t.Fatalf("got a request from %q, which is not one head", head)
		}
		for _, f := range r.Header {
			if !isToken(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") {
				t.Fatalf("got field %q: %q", f.Name, f.Value)
			}
		}
		h, err := r.Negotiate([]string{"chat"})
		if err != nil {
			if !errors.As(err, &he) || HeadEnd(AppendRefusal(nil, he), 0) < 0 {
				t.Fatalf("got %v, want a *HandshakeError that can be answered", err)
			}
			return
		}
		if answer, err := AppendResponse(nil, h); err != nil || HeadEnd(answer, 0) != len(answer) {
			t.Fatalf("got %q, %v, want an answer", answer, err)
		}
	})
}

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
	clear(head) // the strings must be copies
	if r.Method != "GET" || r.Target != "/a%20b/c?x=1&y=%20" || r.Path != "/a b/c" || r.RawPath != "/a%20b/c" ||
		r.RawQuery != "x=1&y=%20" {
		t.Errorf("got %q %q %q %q %q, want the parts of the request line", r.Method, r.Target, r.Path, r.RawPath, r.RawQuery)
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
		head   string // without the empty line
		status int
	}{
		{"nothing", "", 400},
		{"no Host", "GET / HTTP/1.1", 400},
		{"no Host in a later version", "GET / HTTP/1.2", 400},
		{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a", 400},
		{"two Hosts", line + "Host: a\r\nHost: a", 400},
		{"Host with a space", line + "Host: a b", 400},
		{"Host with a user", line + "Host: u@a", 400},
		{"Host with a path", line + "Host: a/b", 400},
		{"Content-Length that is no number", line + "Host: a\r\nContent-Length: x", 400},
		{"Content-Length with a sign", line + "Host: a\r\nContent-Length: +1", 400},
		{"empty Content-Length", line + "Host: a\r\nContent-Length:", 400},
		{"Content-Length beyond 63 bits", line + "Host: a\r\nContent-Length: 9223372036854775808", 400},
		{"list of Content-Lengths", line + "Host: a\r\nContent-Length: 1, 1", 400},
		{"two Content-Lengths", line + "Host: a\r\nContent-Length: 1\r\nContent-Length: 1", 400},
		{"Content-Length and Transfer-Encoding", line + "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400},
		{"Transfer-Encoding and Content-Length", line + "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", 400},
		{"Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked", 400},
		{"two Transfer-Encodings", line + "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400},
		{"Transfer-Encoding that is not chunked", line + "Host: a\r\nTransfer-Encoding: gzip, chunked", 501},
		{"empty Transfer-Encoding", line + "Host: a\r\nTransfer-Encoding:", 501},
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
		{"method alone", "GET\r\nHost: a", 400},
		{"no target", "GET HTTP/1.1\r\nHost: a", 400},
		{"empty target", "GET  HTTP/1.1\r\nHost: a", 400},
		{"empty method", " / HTTP/1.1\r\nHost: a", 400},
		{"three spaces", "GET / x HTTP/1.1\r\nHost: a", 400},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a", 400},
		{"lower case version", "GET / http/1.1\r\nHost: a", 400},
		{"version of letters", "GET / HTTP/1.x\r\nHost: a", 400},
		{"version without a period", "GET / HTTP/1x1\r\nHost: a", 400},
		{"version that begins before 0", "GET / HTTP//.1\r\nHost: a", 400},
		{"version that begins behind 9", "GET / HTTP/:.1\r\nHost: a", 400},
		{"version that ends before 0", "GET / HTTP/1./\r\nHost: a", 400},
		{"version that ends behind 9", "GET / HTTP/1.:\r\nHost: a", 400},
		{"version too short", "GET / HTTP/1.\r\nHost: a", 400},
		{"version too long", "GET / HTTP/1.10\r\nHost: a", 400},
		{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a", 505},
		{"HTTP/9.9", "GET / HTTP/9.9\r\nHost: a", 505},
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

// TestCharacters tries each byte as a token, a target and a value.
func TestCharacters(t *testing.T) {
	const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for c := range 256 {
		s := string([]byte{byte(c)})
		token := strings.Contains("!#$%&'*+-.^_`|~"+alphanumeric, s) // RFC 9110 §5.6.2
		if got := isToken(s); got != token {
			t.Errorf("%q: got token %v, want %v", s, got, token)
		}
		target := token && c != '#' || strings.Contains("\"(),/:;<=>?@[\\]{}", s) // RFC 9112 §3.2, RFC 6455 §3
		if got := isTarget(s); got != target {
			t.Errorf("%q: got target %v, want %v", s, got, target)
		}
		value := target || strings.Contains("\t #", s) || c >= 0x80 // RFC 9110 §5.5
		if got := isFieldValue(s); got != value {
			t.Errorf("%q: got value %v, want %v", s, got, value)
		}
	}
	if isToken("") || isTarget("") || !isFieldValue("") {
		t.Error("want only the value of a field to be empty")
	}
}

func TestHosts(t *testing.T) {
	rows := []struct {
		host string
		want bool
	}{
		{"", true},
		{"a", true},
		{"a:80", true},
		{"a:", true},
		{"a.example.", true},
		{"A_b-1~!$&'()*+;=", true},
		{"a%2Fb", true},
		{"127.0.0.1:8080", true},
		{"[::1]", true},
		{"[::1]:80", true},
		{"[::ffff:1.2.3.4]", true},
		{"[::1", false},
		{"[1::2:3", false},
		{"::1", false},
		{"::1]", false},
		{"a:b", false},
		{"a:-1", false},
		{"a:+1", false},
		{"a:1:2", false},
		{"a%a0%f9%AF%0F", true},
		{"a%zz", false},
		{"a%g0", false},
		{"a%0g", false},
		{"a%`0", false},
		{"a%@0", false},
		{"a%G0", false},
		{"a%2", false},
		{"[]", false},
		{"[a]", false},
		{"[127.0.0.1]", false},
		{"[fe80::1%eth0]", false},
		{"[::1]a", false},
		{"[::1]:a", false},
		{"[[::1]]", false},
		{"a]", false},
		{"a[", false},
		{"a,b", false},
		{"a b", false},
		{"u@a", false},
		{"a/b", false},
		{"a?b", false},
		{"a#b", false},
		{"a\\b", false},
		{"a\"b", false},
		{"ä", false},
	}
	for _, row := range rows {
		t.Run(row.host, func(t *testing.T) {
			_, err := ParseRequest([]byte("GET / HTTP/1.1\r\nHost: " + row.host + "\r\n\r\n"))
			if got := err == nil; got != row.want {
				t.Errorf("got %v, want valid: %v", err, row.want)
			}
		})
	}
}

func TestHTTP10NeedsNoHost(t *testing.T) {
	r, err := ParseRequest([]byte("GET /healthz HTTP/1.0\r\n\r\n")) // RFC 9112 §3.2
	if err != nil || r.Path != "/healthz" || r.Minor != 0 {
		t.Errorf("got %+v, %v, want the request", r, err)
	}
}

func TestContentLength(t *testing.T) {
	for field, want := range map[string]int64{
		"X: y": 0, "Content-Length: 0": 0, "Content-Length: 0012": 12, "Transfer-Encoding: Chunked": -1,
		"Content-Length: 9223372036854775807": 1<<63 - 1,
	} {
		r, err := ParseRequest([]byte("POST / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n"))
		if err != nil || r.ContentLength != want {
			t.Errorf("%s: got %d, %v, want %d", field, r.ContentLength, err, want)
		}
	}
}

func TestEmptyLines(t *testing.T) {
	for b, want := range map[string]int{
		"": 0, "\r": 0, "\r\n": 2, "\r\n\r": 2, "\r\n\r\nGET": 4, "GET\r\n": 0, "\nGET": 0,
	} {
		if got := EmptyLines([]byte(b)); got != want {
			t.Errorf("%q: got %d, want %d", b, got, want)
		}
	}
}

// TestCheckHead accepts every beginning of a good head, and finds a fault at the byte that is wrong.
func TestCheckHead(t *testing.T) {
	good := []byte("GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\xff\r\n\r\n")
	for n := range good {
		for from := range n + 1 {
			if err := CheckHead(good[:n], from); err != nil {
				t.Fatalf("%q from %d: got %v, want no error", good[:n], from, err)
			}
		}
	}
	for _, bad := range []string{
		"\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\n", "\x16", "\x00", " ", "\rG", "GET\rX", "GET \x00", "GET \x7f", "(",
		"GET / HTTP/1.1\r\n\n",
	} {
		for from := range len(bad) {
			if err := CheckHead([]byte(bad[:len(bad)-1]), 0); err != nil {
				t.Errorf("%q: got %v one byte too early", bad, err)
			}
			var he *HandshakeError
			if err := CheckHead([]byte(bad), from); !errors.As(err, &he) || he.Status != 400 {
				t.Errorf("%q from %d: got %v, want 400", bad, from, err)
			}
		}
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
		if err := CheckHead(head, 0); err != nil {
			t.Fatalf("got a request from %q, which has a fault: %v", head, err)
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

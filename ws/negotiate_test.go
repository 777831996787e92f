package ws

import (
	"errors"
	"strings"
	"testing"
)

// request parses the example of RFC 6455 §1.2 with the given fields changed. A field without a colon removes the field
// of that name.
func request(t *testing.T, line string, fields ...string) Request {
	t.Helper()
	if line == "" {
		line = "GET /chat HTTP/1.1"
	}
	head := line + "\r\n"
	for _, f := range []string{
		"Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: http://example.com", "Sec-WebSocket-Version: 13",
	} {
		name, _, _ := strings.Cut(f, ":")
		replaced := false
		for _, own := range fields {
			replaced = replaced || own == name
		}
		if !replaced {
			head += f + "\r\n"
		}
	}
	for _, f := range fields {
		if strings.Contains(f, ":") {
			head += f + "\r\n"
		}
	}
	r, err := ParseRequest([]byte(head + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNegotiateAccepts(t *testing.T) {
	const sample = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 §1.3
	rows := []struct {
		name        string
		fields      []string
		accept      string
		subprotocol string
	}{
		{"the example", nil, sample, ""},
		{"upgrade among other tokens", []string{"Connection", "Connection: keep-alive, UPGRADE"}, sample, ""},
		{"tokens in two fields", []string{"Connection", "Connection: close", "Connection: upgrade"}, sample, ""},
		{"no Origin: not a browser", []string{"Origin"}, sample, ""},
		{
			"the other example's key",
			[]string{"Sec-WebSocket-Key", "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="},
			"OfS0wDaT5NoxF2gqm7Zj2YtetzM=", "",
		}, // RFC 6455 §4.1
		{"an empty body is none", []string{"Content-Length: 0"}, sample, ""},
		{"extensions are the caller's", []string{"Sec-WebSocket-Extensions: permessage-deflate"}, sample, ""},
		{
			"the client's first that is known",
			[]string{"Sec-WebSocket-Protocol: x, superchat, chat"},
			sample,
			"superchat",
		},
		{
			"subprotocols in two fields",
			[]string{"Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: chat"},
			sample, "chat",
		},
		{"empty elements of lists", []string{"Sec-WebSocket-Protocol: , x,,\t,chat ,"}, sample, "chat"},
		{"an empty list", []string{"Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: chat"}, sample, "chat"},
		{"a list of nothing", []string{"Sec-WebSocket-Protocol: ,"}, sample, ""},
		{"upgrade among empty elements", []string{"Connection", "Connection: ,,Upgrade,", "Upgrade", "Upgrade: ,websocket"}, sample, ""},
		{"subprotocols have case", []string{"Sec-WebSocket-Protocol: CHAT"}, sample, ""},
		{"none in common", []string{"Sec-WebSocket-Protocol: x"}, sample, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := request(t, "", row.fields...)
			h, err := r.Negotiate([]string{"chat", "superchat"})
			if err != nil {
				t.Fatal(err)
			}
			if h.Accept != row.accept || h.Subprotocol != row.subprotocol {
				t.Errorf("got %q, %q, want %q, %q", h.Accept, h.Subprotocol, row.accept, row.subprotocol)
			}
		})
	}
}

func TestNegotiateRefuses(t *testing.T) {
	key := func(v string) []string { return []string{"Sec-WebSocket-Key", "Sec-WebSocket-Key: " + v} }
	rows := []struct {
		name   string
		line   string
		fields []string
		status int
		header string // that the answer carries
	}{
		{"no GET", "POST / HTTP/1.1", nil, 405, "Allow: GET"},
		{"HTTP/1.0", "GET / HTTP/1.0", nil, 400, ""},
		{"no Upgrade", "", []string{"Upgrade"}, 426, "Upgrade: websocket"},
		{"another Upgrade", "", []string{"Upgrade", "Upgrade: h2c"}, 426, "Upgrade: websocket"},
		{"no Connection", "", []string{"Connection"}, 400, ""},
		{"Connection without upgrade", "", []string{"Connection", "Connection: keep-alive"}, 400, ""},
		{"no version", "", []string{"Sec-WebSocket-Version"}, 426, "Sec-WebSocket-Version: 13"},
		{
			"older version", "",
			[]string{"Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"},
			426,
			"Sec-WebSocket-Version: 13",
		},
		{"two versions", "", []string{"Sec-WebSocket-Version: 13"}, 426, "Sec-WebSocket-Version: 13"},
		{"no key", "", []string{"Sec-WebSocket-Key"}, 400, ""},
		{"two keys", "", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, 400, ""},
		{"empty key", "", key(""), 400, ""},
		{"key of 15 bytes", "", key("AQIDBAUGBwgJCgsMDQ4P"), 400, ""},
		{"key of 17 bytes", "", key("AQIDBAUGBwgJCgsMDQ4PEBE="), 400, ""},
		{"key without padding", "", key("AQIDBAUGBwgJCgsMDQ4PEA"), 400, ""},
		{"key that is no base64", "", key("AQIDBAUGBwgJCgsMDQ4P*A=="), 400, ""},
		{"body by length", "", []string{"Content-Length: 1"}, 400, ""},
		{"body in chunks", "", []string{"Transfer-Encoding: chunked"}, 400, ""},
		{"subprotocol that is no token", "", []string{"Sec-WebSocket-Protocol: a b"}, 400, ""},
		{"malformed extensions", "", []string{"Sec-WebSocket-Extensions: permessage-deflate; a=\"b c\""}, 400, ""},
		{"subprotocol twice", "", []string{"Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"}, 400, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := request(t, row.line, row.fields...)
			h, err := r.Negotiate([]string{"a"})
			var he *HandshakeError
			if !errors.As(err, &he) || he.Status != row.status {
				t.Fatalf("got %+v, %v, want status %d", h, err, row.status)
			}
			if answer := string(AppendRefusal(nil, he)); !strings.Contains(answer, "\r\n"+row.header) {
				t.Errorf("got %q, want it to hold %q", answer, row.header)
			}
		})
	}
}

func TestAppendResponseIsTheExampleOfTheRFC(t *testing.T) {
	r := request(t, "", "Sec-WebSocket-Protocol: chat, superchat")
	h, err := r.Negotiate([]string{"chat"})
	if err != nil {
		t.Fatal(err)
	}
	h.Header = []Field{{"Server", "x"}}
	got, err := AppendResponse([]byte("before"), h)
	want := "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nServer: x\r\n\r\n"
	if string(got) != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestAppendResponseRefusesWhatBreaksOutOfItsLine(t *testing.T) {
	rows := []struct {
		name string
		h    Handshake
	}{
		{"line feed in a value", Handshake{Accept: "a", Header: []Field{{"X", "a\nSet-Cookie: b"}}}},
		{"carriage return in a value", Handshake{Accept: "a", Header: []Field{{"X", "a\rb"}}}},
		{"NUL in a value", Handshake{Accept: "a", Header: []Field{{"X", "a\x00"}}}},
		{"line feed in a name", Handshake{Accept: "a", Header: []Field{{"X\r\nY", "a"}}}},
		{"colon in a name", Handshake{Accept: "a", Header: []Field{{"X:", "a"}}}},
		{"line feed in the subprotocol", Handshake{Accept: "a", Subprotocol: "a\r\nX: b"}},
		{"line feed in the extensions", Handshake{Accept: "a", Extensions: "a\r\nX: b"}},
		{"line feed in the proof", Handshake{Accept: "a\r\nX: b"}},
		{"no proof", Handshake{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got, err := AppendResponse([]byte("x"), row.h); err == nil || string(got) != "x" {
				t.Errorf("got %q, %v, want an error and nothing appended", got, err)
			}
		})
	}
}

func TestAppendRefusal(t *testing.T) {
	e := &HandshakeError{Status: 401, Reason: "token expired"}
	e.Header = []Field{{"X", "a\r\nY: b"}, {"Retry-After", "5"}}
	want := "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"X-Content-Type-Options: nosniff\r\nContent-Length: 14\r\nRetry-After: 5\r\n\r\ntoken expired\n"
	if got := string(AppendRefusal(nil, e)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e = &HandshakeError{Status: 426, Header: []Field{{"Upgrade", "websocket"}}}
	if got := string(AppendRefusal(nil, e)); !strings.Contains(got, "\r\nConnection: Upgrade, close\r\n") {
		t.Errorf("got %q, want Upgrade named in Connection", got) // RFC 9110 §7.8
	}
}

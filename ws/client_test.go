package ws

import (
	"errors"
	"strings"
	"testing"
)

// sampleClient has the key of RFC 6455 §1.3.
func sampleClient() *ClientRequest {
	c := &ClientRequest{Host: "server.example.com", Target: "/chat", Subprotocols: []string{"chat", "superchat"}}
	copy(c.Key[:], "the sample nonce")
	return c
}

func TestAppendRequestIsWhatAServerAccepts(t *testing.T) {
	c := sampleClient()
	c.Header = []Field{{"Origin", "http://example.com"}}
	got, err := c.AppendRequest([]byte("before"))
	want := "beforeGET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
	if string(got) != want || err != nil {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	r, err := ParseRequest(got[len("before"):])
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Negotiate([]string{"superchat"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := AppendResponse(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	if chosen, err := c.ParseResponse(answer); chosen.Subprotocol != "superchat" || err != nil {
		t.Errorf("got %q, %v, want superchat", chosen, err)
	}
}

func TestAppendRequestWithoutSubprotocolsHasNoSuchField(t *testing.T) {
	c := sampleClient()
	c.Subprotocols = nil
	if got, err := c.AppendRequest(nil); err != nil || strings.Contains(string(got), "Protocol") {
		t.Errorf("got %q, %v, want no Sec-WebSocket-Protocol", got, err)
	}
}

func TestAppendRequestRefuses(t *testing.T) {
	rows := []struct {
		name   string
		change func(*ClientRequest)
	}{
		{"no host", func(c *ClientRequest) { c.Host = "" }},
		{"line feed in the host", func(c *ClientRequest) { c.Host = "a\r\nX: b" }},
		{"space in the host", func(c *ClientRequest) { c.Host = "a b" }},
		{"path in the host", func(c *ClientRequest) { c.Host = "a/b" }},
		{"space in the target", func(c *ClientRequest) { c.Target = "/ HTTP/1.1" }},
		{"line feed in the target", func(c *ClientRequest) { c.Target = "/\nX: b" }},
		{"target without a slash", func(c *ClientRequest) { c.Target = "a" }},
		{"target beyond ASCII", func(c *ClientRequest) { c.Target = "/ü" }},
		{"target with a fragment", func(c *ClientRequest) { c.Target = "/#a" }},
		{"subprotocol that is no token", func(c *ClientRequest) { c.Subprotocols = []string{"a\r\nX: b"} }},
		{"two subprotocols in one", func(c *ClientRequest) { c.Subprotocols = []string{"a, b"} }},
		{"subprotocol twice", func(c *ClientRequest) { c.Subprotocols = []string{"a", "a"} }},
		{"line feed in a value", func(c *ClientRequest) { c.Header = []Field{{"X", "a\r\nY: b"}} }},
		{"extensions that break out of their line", func(c *ClientRequest) { c.Extensions = "a\r\nY: b" }},
		{"malformed extensions", func(c *ClientRequest) { c.Extensions = "a;" }},
		{"name that is no token", func(c *ClientRequest) { c.Header = []Field{{"X Y", "a"}} }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := sampleClient()
			row.change(c)
			if got, err := c.AppendRequest([]byte("x")); err == nil || string(got) != "x" {
				t.Errorf("got %q, %v, want an error and nothing appended", got, err)
			}
		})
	}
}

const answer101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

func TestParseResponseAccepts(t *testing.T) {
	rows := []struct{ name, head, subprotocol string }{
		{"no subprotocol", answer101, ""},
		{"offered subprotocol", answer101 + "Sec-WebSocket-Protocol: chat\r\n", "chat"},
		{"tokens in any case", strings.NewReplacer("websocket\r", "WebSocket\r", ": Upgrade", ": keep-alive, UPGRADE").
			Replace(answer101), ""},
		{"an empty list of extensions", answer101 + "Sec-WebSocket-Extensions: ,\r\n", ""},
		{"no reason phrase", strings.Replace(answer101, " Switching Protocols", " ", 1), ""},
		{"no space after the status", strings.Replace(answer101, " Switching Protocols", "", 1), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := sampleClient().ParseResponse([]byte(row.head + "\r\n"))
			if got.Subprotocol != row.subprotocol || got.Extensions != "" || err != nil {
				t.Errorf("got %+v, %v, want %q", got, err, row.subprotocol)
			}
		})
	}
}

func TestParseResponseRefuses(t *testing.T) {
	swap := func(from, to string) string { return strings.Replace(answer101, from, to, 1) }
	rows := []struct {
		name   string
		head   string
		status int // of a *ResponseError; 0 if the answer is not HTTP
	}{
		{"no upgrade", "HTTP/1.1 200 OK\r\n", 200},
		{"refusal", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n", 401},
		{"refusal of an old server", "HTTP/1.0 404 Not Found\r\n", 404},
		{"101 of an old server", swap("HTTP/1.1", "HTTP/1.0"), 101},
		{"no Upgrade", swap("Upgrade: websocket\r\n", ""), 101},
		{"another Upgrade", swap("websocket", "h2c"), 101},
		{"no Connection", swap("Connection: Upgrade\r\n", ""), 101},
		{"no proof", swap("Sec-WebSocket-Accept", "X"), 101},
		{"wrong proof", swap("s3pP", "S3pP"), 101},
		{"two proofs", answer101 + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 101},
		{"extension that was not offered", answer101 + "Sec-WebSocket-Extensions: permessage-deflate\r\n", 101},
		{"extensions with malformed syntax", answer101 + "Sec-WebSocket-Extensions: permessage-deflate;\r\n", 101},
		{"subprotocol that was not offered", answer101 + "Sec-WebSocket-Protocol: x\r\n", 101},
		{"two subprotocols", answer101 + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n", 101},
		{"list of subprotocols", answer101 + "Sec-WebSocket-Protocol: chat, superchat\r\n", 101},
		{"malformed field", answer101 + "X : y\r\n", 101},
		{"bare line feed", answer101 + "X: a\nb\r\n", 101},
		{"too many fields", answer101 + strings.Repeat("X: y\r\n", maxFields), 101},
		{"no HTTP", "SSH-2.0-x\r\n", 0},
		{"HTTP/2", swap("HTTP/1.1", "HTTP/2.0"), 0},
		{"minor version of letters", swap("HTTP/1.1", "HTTP/1.x"), 0},
		{"status of two digits", swap("101 ", "10 "), 0},
		{"status of four digits", swap("101 ", "1010 "), 0},
		{"the last status", swap("101 ", "999 "), 999},
		{"status that begins with 0", swap("101 ", "099 "), 0},
		{"status that begins beyond 9", swap("101 ", ":01 "), 0},
		{"status with a sign", swap("101 ", "+10 "), 0},
		{"status after two spaces", swap(" 101", "  101"), 0},
		{"empty line behind", answer101 + "\r\n", 0},
		{"nothing", "", 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := sampleClient().ParseResponse([]byte(row.head + "\r\n"))
			var re *ResponseError
			if err == nil || got.Accept != "" || errors.As(err, &re) != (row.status != 0) {
				t.Fatalf("got %+v, %v, want status %d", got, err, row.status)
			}
			if re != nil && re.Status != row.status {
				t.Errorf("got status %d, want %d", re.Status, row.status)
			}
		})
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(answer101 + "\r\n"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nX: y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		chosen, err := sampleClient().ParseResponse(head)
		if err != nil && chosen.Accept != "" {
			t.Fatalf("got %+v with %v", chosen, err)
		}
		proved := strings.Contains(string(head), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
		if err == nil && (HeadEnd(head, 0) != len(head) || !proved) {
			t.Fatalf("got no error for %q", head)
		}
		var re *ResponseError
		if errors.As(err, &re) && (re.Status < 100 || re.Status > 999) {
			t.Fatalf("got status %d", re.Status)
		}
	})
}

func FuzzAppendRequest(f *testing.F) {
	f.Add("server.example.com", "/chat?x=1", "chat", "Origin", "http://example.com")
	f.Add("[::1]:80", "", "a.b", "Authorization", "Bearer x")
	f.Fuzz(func(t *testing.T, host, target, subprotocol, name, value string) {
		c := &ClientRequest{Host: host, Target: target, Subprotocols: []string{subprotocol}}
		c.Header = []Field{{name, value}}
		head, err := c.AppendRequest(nil)
		if err != nil {
			return
		}
		r, err := ParseRequest(head)
		if err != nil || len(r.Header) != 7 {
			t.Fatalf("got %v, %d fields, want %q to be one request of 7", err, len(r.Header), head)
		}
	})
}

package conformance

import (
	"fmt"
	"net/http"
	"strings"
)

// Parts of a handshake that most cases of requests keep.
const (
	hostField    = "Host: {host}"
	upgradeField = "Upgrade: websocket"
	connField    = "Connection: Upgrade"
	versionField = "Sec-WebSocket-Version: 13"
	keyField     = "Sec-WebSocket-Key: " + sampleKey
)

// with returns a handshake whose line and fields are those of a correct one, except for changes: "Name: value" replaces
// the field, "-Name" removes it, "+Name: value" adds another one.
func with(line string, changes ...string) string {
	fields := []string{hostField, upgradeField, connField, versionField, keyField}
	for _, c := range changes {
		name, _, _ := strings.Cut(strings.TrimLeft(c, "+-"), ":")
		at := -1
		for i, f := range fields {
			if n, _, _ := strings.Cut(f, ":"); strings.EqualFold(n, name) {
				at = i
			}
		}
		switch {
		case c[0] == '-':
			fields = append(fields[:at:at], fields[at+1:]...)
		case c[0] == '+' || at < 0:
			fields = append(fields, strings.TrimPrefix(c, "+"))
		default:
			fields[at] = c
		}
	}
	return line + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

const goodLine = "GET {path} HTTP/1.1"

// refused is any answer with an error.
func refused(status ...int) []Answer { return []Answer{{Status: status}} }

func opened() []Answer { return []Answer{{Status: []int{http.StatusSwitchingProtocols}}} }

// handshakeRules are the rules of RFC 6455 §4.2.1 about the request.
func handshakeRules() []Rule {
	return []Rule{{
		ID: "upgrade-token", Section: "RFC 6455 §4.2.1", Text: "the Upgrade field has the token websocket, in any case",
		Cases: []Case{
			{Name: "upper case", Request: with(goodLine, "Upgrade: WEBSOCKET")},
			{Name: "mixed case", Request: with(goodLine, "Upgrade: WebSocket")},
			{Name: "in a list", Request: with(goodLine, "Upgrade: h2c, websocket")},
			{Name: "in a list with empty elements", Request: with(goodLine, "Upgrade: , websocket ,")},
			{Name: "in the second of two fields", Request: with(goodLine, "Upgrade: h2c", "+Upgrade: websocket")},
			{Name: "missing", Request: with(goodLine, "-Upgrade"), Answers: refused()},
			{Name: "another protocol", Request: with(goodLine, "Upgrade: h2c"), Answers: refused()},
			{Name: "a longer token", Request: with(goodLine, "Upgrade: websockets"), Answers: refused()},
			{Name: "a token that contains it", Request: with(goodLine, "Upgrade: not-websocket"), Answers: refused()},
		},
	}, {
		ID: "connection-token", Section: "RFC 6455 §4.2.1", Text: "the Connection field has the token upgrade, in any case",
		Cases: []Case{
			{Name: "lower case", Request: with(goodLine, "Connection: upgrade")},
			{Name: "upper case", Request: with(goodLine, "Connection: UPGRADE")},
			{Name: "in a list", Request: with(goodLine, "Connection: keep-alive, Upgrade")},
			{Name: "in a list without spaces", Request: with(goodLine, "Connection: keep-alive,Upgrade,x")},
			{Name: "with a tab", Request: with(goodLine, "Connection: keep-alive,\tUpgrade\t")},
			{Name: "in the second of two fields", Request: with(goodLine, "Connection: keep-alive", "+Connection: Upgrade")},
			{Name: "missing", Request: with(goodLine, "-Connection"), Answers: refused()},
			{Name: "another token", Request: with(goodLine, "Connection: keep-alive"), Answers: refused()},
			{Name: "a longer token", Request: with(goodLine, "Connection: upgraded"), Answers: refused()},
			{Name: "a token that contains it", Request: with(goodLine, "Connection: no-upgrade"), Answers: refused()},
		},
	}, {
		ID: "key", Section: "RFC 6455 §4.2.1", Text: "the key is base64 of 16 bytes", Cases: keyCases(),
	}, {
		ID: "key-once", Section: "RFC 6455 §11.3.1", Text: "a request has one Sec-WebSocket-Key",
		Cases: []Case{
			{Name: "twice the same", Request: with(goodLine, "+"+keyField), Answers: refused()},
			{
				Name: "two different ones", Request: with(goodLine, "+Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="),
				Answers: refused(),
			},
		},
	}}
}

// versionRules are about the versions of WebSocket and HTTP, and about lists of names.
func versionRules() []Rule {
	return []Rule{{
		ID: "version", Section: "RFC 6455 §4.2.2",
		Text: "another version than 13 is refused with 426, and the version that the server speaks", Cases: versionCases(),
	}, {
		ID: "method", Section: "RFC 6455 §4.1", Text: "the method is GET", Cases: methodCases(),
	}, {
		ID: "http-version", Section: "RFC 6455 §4.1", Text: "the request is of HTTP/1.1 or higher",
		Cases: []Case{
			{Name: "HTTP/1.0", Request: with("GET {path} HTTP/1.0"), Answers: refused()},
			{
				Name: "HTTP/1.0 kept alive", Request: with("GET {path} HTTP/1.0", "Connection: keep-alive, Upgrade"),
				Answers: refused(),
			},
			{Name: "HTTP/0.9", Request: with("GET {path} HTTP/0.9"), Answers: refused()},
			{Name: "HTTP/2.0", Request: with("GET {path} HTTP/2.0"), Answers: refused()},
			{Name: "HTTP/1.2", Request: with("GET {path} HTTP/1.2"), Answers: []Answer{{Status: []int{101, 400, 426, 505}}}},
		},
	}, {
		ID: "subprotocol-once", Section: "RFC 6455 §4.1",
		Text: "the subprotocols of a request are different tokens",
		Cases: []Case{
			{Name: "one twice", Request: with(goodLine, "Sec-WebSocket-Protocol: a, b, a"), Answers: refused()},
			{
				Name:    "one twice, in two fields",
				Request: with(goodLine, "Sec-WebSocket-Protocol: a", "+Sec-WebSocket-Protocol: a"), Answers: refused(),
			},
			{Name: "with a space", Request: with(goodLine, "Sec-WebSocket-Protocol: a b"), Answers: refused()},
			{Name: "with a slash", Request: with(goodLine, "Sec-WebSocket-Protocol: a/b"), Answers: refused()},
			{Name: "in quotes", Request: with(goodLine, `Sec-WebSocket-Protocol: "a"`), Answers: refused()},
		},
	}, {
		ID: "extensions-syntax", Section: "RFC 6455 §9.1",
		Text: "a malformed Sec-WebSocket-Extensions fails the handshake", Cases: malformedExtensions(),
	}, {
		ID: "extensions-unknown", Section: "RFC 6455 §9.1",
		Text: "an extension that the server does not know is not answered",
		Cases: []Case{
			{Name: "unknown", Fields: "Sec-WebSocket-Extensions: x-unknown\r\n"},
			{Name: "with parameters", Fields: "Sec-WebSocket-Extensions: x-unknown; a; b=1; c=\"2\"\r\n"},
			{Name: "several", Fields: "Sec-WebSocket-Extensions: mux; max-channels=4, deflate-stream\r\n"},
			{Name: "in two fields", Fields: "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b\r\n"},
			{Name: "empty elements", Fields: "Sec-WebSocket-Extensions: , x ,, y,\r\n"},
		},
	}}
}

func keyCases() []Case {
	cases := []Case{
		{
			Name:    "of RFC 6455 §4.1, with bits after its end",
			Request: with(goodLine, "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="),
		},
		{Name: "with + and /", Request: with(goodLine, "Sec-WebSocket-Key: +/+/+/+/+/+/+/+/+/+/+w==")},
		{Name: "white space around", Request: with(goodLine, "Sec-WebSocket-Key:  \t"+sampleKey+"\t ")},
	}
	for name, key := range map[string]string{
		"empty": "", "15 bytes": "AAAAAAAAAAAAAAAAAAAA", "17 bytes": "AAAAAAAAAAAAAAAAAAAAAAA=",
		"12 bytes": "AAAAAAAAAAAAAAAA", "24 bytes": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"without padding": "dGhlIHNhbXBsZSBub25jZQ",
		"not base64":      "dGhlIHNhbXBsZSBub25jZ!==", "URL-safe base64": "-_-_-_-_-_-_-_-_-_-_-w==",
		"padding too long": "dGhlIHNhbXBsZSBub25jZQ===", "text after the padding": "dGhlIHNhbXBsZSBub25jZQ==a",
		"space within": "dGhlIHNhbXBs ZSBub25jZQ==", "list": sampleKey + ", " + sampleKey,
	} {
		cases = append(cases, Case{Name: name, Request: with(goodLine, "Sec-WebSocket-Key: "+key), Answers: refused()})
	}
	return append(cases, Case{Name: "missing", Request: with(goodLine, "-Sec-WebSocket-Key"), Answers: refused()})
}

func versionCases() []Case {
	speaks := func(r *Response) error {
		if !hasToken(r.Header.Values("Sec-WebSocket-Version"), "13") {
			return broke("Sec-WebSocket-Version: %q, want 13 (RFC 6455 §4.4)", r.Header.Values("Sec-WebSocket-Version"))
		}
		return upgradeOffered(r)
	}
	refusal := []Answer{{Status: []int{http.StatusUpgradeRequired}, Check: speaks}}
	cases := []Case{
		{Name: "white space around", Request: with(goodLine, "Sec-WebSocket-Version:  13\t")},
		{Name: "missing", Request: with(goodLine, "-Sec-WebSocket-Version"), Answers: refused()},
		{Name: "twice", Request: with(goodLine, "+"+versionField), Answers: refused()},
		{Name: "two different ones", Request: with(goodLine, "+Sec-WebSocket-Version: 8"), Answers: refused()},
	}
	for _, v := range []string{"0", "7", "8", "12", "14", "25", "255"} {
		cases = append(cases, Case{Name: v, Request: with(goodLine, "Sec-WebSocket-Version: "+v), Answers: refusal})
	}
	for _, v := range []string{"", "013", "13.0", "+13", "0x0d", "13, 8", "256", "-1", "thirteen"} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("%q", v), Request: with(goodLine, "Sec-WebSocket-Version: "+v),
			Answers: refused(),
		})
	}
	return cases
}

func methodCases() (cases []Case) {
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "Get", "GETT", "GE"} {
		cases = append(cases, Case{Name: m, Request: with(m + " {path} HTTP/1.1"), Answers: []Answer{{
			Status: []int{200, 204, 400, 404, 405, 426, 501},
		}}})
	}
	return cases
}

func malformedExtensions() (cases []Case) {
	for _, v := range []string{
		"permessage-deflate; ", "permessage-deflate;; a", "; a", "a b", "permessage-deflate; =1", "permessage-deflate; a=",
		"permessage-deflate; a=b c", `permessage-deflate; a="`, `permessage-deflate; a="b`, `permessage-deflate; a="b c"`,
		`permessage-deflate; a=""`, "permessage@deflate", "permessage-deflate; a=1=2", `"permessage-deflate"`,
		"permessage-deflate, ;", "permessage-deflate; a/b",
	} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("%q", v), Fields: "Sec-WebSocket-Extensions: " + v + "\r\n",
			Answers: refused(),
		})
	}
	return cases
}

// upgradeOffered checks that a response names what it wants the client to upgrade to. RFC 9110 §7.8, §15.5.22.
func upgradeOffered(r *Response) error {
	if !hasToken(r.Header.Values("Upgrade"), "websocket") {
		return broke("Upgrade: %q, want websocket (RFC 9110 §15.5.22)", r.Header.Values("Upgrade"))
	}
	if !hasToken(r.Header.Values("Connection"), "upgrade") {
		return broke("Connection: %q, want upgrade (RFC 9110 §7.8)", r.Header.Values("Connection"))
	}
	return nil
}

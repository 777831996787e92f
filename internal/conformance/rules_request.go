package conformance

import (
	"fmt"
	"net/http"
	"strings"
)

// requestRules are about the request line and Host. RFC 9112 §2, §3.
func requestRules() []Rule {
	return []Rule{{
		ID: "host", Section: "RFC 9112 §3.2", Text: "a request without exactly one valid Host is refused with 400",
		Cases: []Case{
			{Name: "missing", Request: with(goodLine, "-Host"), Answers: refused(400)},
			{Name: "twice the same", Request: with(goodLine, "+"+hostField), Answers: refused(400)},
			{Name: "two different ones", Request: with(goodLine, "+Host: other.example"), Answers: refused(400)},
			{Name: "with a space", Request: with(goodLine, "Host: a b"), Answers: refused(400)},
			{Name: "with a path", Request: with(goodLine, "Host: {host}/a"), Answers: refused(400)},
			{Name: "with a user", Request: with(goodLine, "Host: user@{host}"), Answers: refused(400)},
			{Name: "list", Request: with(goodLine, "Host: {host}, other.example"), Answers: refused(400)},
			{Name: "of any case", Request: with(goodLine, "-Host", "+hOST: {host}")},
			{Name: "IPv6 address", Request: with(goodLine, "Host: [::1]:8080")},
		},
	}, {
		ID: "request-line", Section: "RFC 9112 §3", Text: "a malformed request line is refused", Cases: lineCases(),
	}, {
		ID: "absolute-form", Section: "RFC 9112 §3.2.2", Text: "a target in absolute form is accepted, and its host counts",
		Cases: []Case{
			{Name: "http", Request: with("GET http://{host}{path} HTTP/1.1")},
			{Name: "with another Host", Request: with("GET http://{host}{path} HTTP/1.1", "Host: other.example")},
			{Name: "with a query", Request: with("GET http://{host}{path}?a=b HTTP/1.1")},
			{Name: "without a host", Request: with("GET http:///path HTTP/1.1"), Answers: refused()},
			{Name: "with a user", Request: with("GET http://user:pass@{host}{path} HTTP/1.1"), Answers: refused()},
		},
	}, {
		ID: "query", Section: "RFC 6455 §4.1", Text: "the target may have a query",
		Cases: []Case{
			{Name: "query", Request: with("GET {path}?a=b&c=%20 HTTP/1.1")},
			{Name: "empty query", Request: with("GET {path}? HTTP/1.1")},
			{Name: "long query", Request: with("GET {path}?" + strings.Repeat("a", 4000) + " HTTP/1.1")},
			{Name: "fragment", Request: with("GET {path}#a HTTP/1.1"), Answers: refused()},
		},
	}, {
		ID: "empty-lines", Section: "RFC 9112 §2.2", Level: Should, Text: "empty lines before a request are ignored",
		Cases: []Case{
			{Name: "one", Request: "\r\n" + with(goodLine)},
			{Name: "two", Request: "\r\n\r\n" + with(goodLine)},
		},
	}, {
		ID: "line-ends", Section: "RFC 9112 §2.2", Text: "a carriage return without a line feed is refused",
		Cases: []Case{
			{Name: "in a value", Request: with(goodLine, "X-A: a\rb"), Answers: refused()},
			{Name: "after a value", Request: with(goodLine, "X-A: a\r"), Answers: refused()},
			{Name: "in the request line", Request: with("GET {path}\r HTTP/1.1"), Answers: refused()},
			{
				Name: "instead of the ends of lines", Request: strings.ReplaceAll(with(goodLine), "\r\n", "\r") + "\r\n\r\n",
				Answers: refused(),
			},
		},
	}, {
		ID: "bare-line-feed", Section: "RFC 9112 §2.2", Level: Should,
		Text: "a line feed without a carriage return is refused, because a proxy may not have seen an end of the line",
		Cases: []Case{
			{Name: "after the request line", Request: strings.Replace(with(goodLine), "\r\n", "\n", 1), Answers: refused()},
			{Name: "after a field", Request: with(goodLine, "X-A: a\nX-B: b"), Answers: refused()},
			{Name: "everywhere", Request: strings.ReplaceAll(with(goodLine), "\r\n", "\n"), Answers: refused()},
			{Name: "as the empty line", Request: strings.TrimSuffix(with(goodLine), "\r\n") + "\n\r\n", Answers: refused()},
			{Name: "before the request", Request: "\n" + with(goodLine), Answers: refused()},
		},
	}}
}

func lineCases() (cases []Case) {
	for _, line := range []string{
		"GET  {path} HTTP/1.1", "GET {path}  HTTP/1.1", " GET {path} HTTP/1.1", "GET {path} HTTP/1.1 ",
		"GET\t{path}\tHTTP/1.1",
		"GET {path}", "GET", "{path} HTTP/1.1", "GET {path} http/1.1", "GET {path} HTTP/1", "GET {path} HTTP/1.",
		"GET {path} HTTP/11",
		"GET {path} HTTP/1.10", "GET {path} HTTP/01.1", "GET {path} HTTP/1.1a", "GET {path} HTTP 1.1", "GET {path} HTTPS/1.1",
		"GET {path} a HTTP/1.1", "GET {path}\x00 HTTP/1.1", "GET {path}\x7f HTTP/1.1", "GET {path}\xff HTTP/1.1",
		"GET {path}\x0b HTTP/1.1", "G\x00T {path} HTTP/1.1", "G@T {path} HTTP/1.1", "GET {path}%zz HTTP/1.1",
		"GET {path}%4 HTTP/1.1",
		"GET a{path} HTTP/1.1", "GET  HTTP/1.1", ": {path} HTTP/1.1", "GET * HTTP/1.1",
	} {
		cases = append(cases, Case{Name: fmt.Sprintf("%q", line), Request: with(line), Answers: refused()})
	}
	return append(cases, Case{
		Name: "preface of HTTP/2", Request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Answers: []Answer{{MayEnd: true}},
	})
}

// fieldRules are about the syntax of header fields. RFC 9112 §5, RFC 9110 §5.
func fieldRules() []Rule {
	folded := []Answer{{Status: []int{400}}}
	return []Rule{{
		ID: "space-before-colon", Section: "RFC 9112 §5.1",
		Text: "white space between a field's name and the colon is refused with 400",
		Cases: []Case{
			{Name: "space", Request: with(goodLine, "X-A : a"), Answers: refused(400)},
			{Name: "tab", Request: with(goodLine, "X-A\t: a"), Answers: refused(400)},
			{Name: "in Host", Request: with(goodLine, "-Host", "+Host : {host}"), Answers: refused(400)},
			{
				Name: "in the key", Request: with(goodLine, "-Sec-WebSocket-Key", "+Sec-WebSocket-Key : "+sampleKey),
				Answers: refused(400),
			},
		},
	}, {
		ID: "folded-lines", Section: "RFC 9112 §5.2", Level: Should,
		Text: "a folded line is refused with 400 (it may also be unfolded, which no two servers do alike)",
		Cases: []Case{
			{Name: "space", Request: with(goodLine, "X-A: a\r\n b"), Answers: folded},
			{Name: "tab", Request: with(goodLine, "X-A: a\r\n\tb"), Answers: folded},
			{Name: "Connection", Request: with(goodLine, "Connection: keep-alive,\r\n Upgrade"), Answers: folded},
			{Name: "only white space", Request: with(goodLine, "X-A: a\r\n "), Answers: folded},
		},
	}, {
		ID: "space-before-fields", Section: "RFC 9112 §2.2",
		Text: "white space between the request line and the first field is refused",
		Cases: []Case{
			{Name: "space", Request: with(goodLine + "\r\n X-A: a"), Answers: refused()},
			{Name: "tab", Request: with(goodLine + "\r\n\tX-A: a"), Answers: refused()},
			{Name: "line of a space", Request: with(goodLine + "\r\n "), Answers: refused()},
		},
	}, {
		ID: "field-values", Section: "RFC 9110 §5.5", Text: "control characters in a field's value are refused",
		Cases: []Case{
			{Name: "zero", Request: with(goodLine, "X-A: a\x00b"), Answers: refused()},
			{Name: "escape", Request: with(goodLine, "X-A: a\x1bb"), Answers: refused()},
			{Name: "delete", Request: with(goodLine, "X-A: a\x7fb"), Answers: refused()},
			{Name: "vertical tab", Request: with(goodLine, "X-A: \x0b"), Answers: refused()},
			{Name: "tab is allowed", Request: with(goodLine, "X-A: a\tb")},
			{Name: "bytes from 0x80 are allowed", Request: with(goodLine, "X-A: \x80\xff")},
			{Name: "empty", Request: with(goodLine, "X-A:")},
		},
	}}
}

// nameRules are about the names of fields, and the head's size.
func nameRules() []Rule {
	return []Rule{{
		ID: "field-names", Section: "RFC 9110 §5.1", Text: "a field's name is a token, and case does not matter",
		Cases: []Case{
			{Name: "empty", Request: with(goodLine, ": a"), Answers: refused()},
			{Name: "with a space", Request: with(goodLine, "X A: a"), Answers: refused()},
			{Name: "with a byte above 0x7f", Request: with(goodLine, "X-\xe9: a"), Answers: refused()},
			{Name: "with a slash", Request: with(goodLine, "X/A: a"), Answers: refused()},
			{Name: "without a colon", Request: with(goodLine, "X-A"), Answers: refused()},
			{Name: "with a zero", Request: with(goodLine, "X\x00A: a"), Answers: refused()},
			{
				Name: "lower case",
				Request: goodLine + "\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
					"sec-websocket-version: 13\r\nsec-websocket-key: " + sampleKey + "\r\n\r\n",
			},
			{Name: "upper case", Request: with(goodLine, "-Connection", "+CONNECTION: Upgrade")},
		},
	}, {
		ID: "head-size", Section: "RFC 6585 §5", Level: Should, Text: "a head beyond the server's limit is refused with 431",
		Cases: []Case{
			{Name: "long value", Request: with(goodLine, "X-A: "+strings.Repeat("a", 2<<20)), Answers: refused(431, 400)},
			{
				Name: "long target", Request: with("GET {path}?" + strings.Repeat("a", 2<<20) + " HTTP/1.1"),
				Answers: refused(431, 414),
			},
			{Name: "many fields", Request: with(goodLine, strings.Repeat("X-A: a\r\n", 200000)+"X-B: b"), Answers: refused(431)},
			{
				Name: "many cookies", Request: with(goodLine, strings.Repeat("Cookie: a=b\r\n", 200000)+"X-B: b"),
				Answers: refused(431),
			},
			{Name: "no end", Request: goodLine + "\r\nX-A: " + strings.Repeat("a", 2<<20), Answers: refused(431, 400)},
		},
	}}
}

// headRules are about HEAD, of which a server knows only the head of its response.
func headRules() []Rule {
	plain := func(path string) string { return "HEAD " + path + " HTTP/1.1\r\nHost: {host}\r\n\r\n" }
	get := "GET /plain?2 HTTP/1.1\r\nHost: {host}\r\n\r\n"
	head := func(status ...int) []Answer { return []Answer{{Status: status, Head: true}} }
	needs := []Feature{HTTP}
	return []Rule{{
		ID: "head", Section: "RFC 9110 §9.3.2", Text: "the response to a HEAD has no content, also if it is an error",
		Cases: []Case{
			{Name: "of an endpoint", Request: plain("{path}"), Answers: head(200, 204, 404, 405, 426, 501)},
			{Name: "with a handshake", Request: with("HEAD {path} HTTP/1.1"), Answers: head(200, 204, 400, 404, 405, 426, 501)},
			{
				Name: "with a handshake of another version", Request: with("HEAD {path} HTTP/1.1", "Sec-WebSocket-Version: 8"),
				Answers: head(200, 204, 400, 404, 405, 426, 501),
			},
			{Name: "without a Host", Request: with("HEAD {path} HTTP/1.1", "-Host"), Answers: head(400)},
			{Name: "of another path", Needs: needs, Request: plain(PlainPath), Answers: head(200), After: Stays},
			{
				Name: "of an endpoint, and a request", Needs: needs, Request: plain("{path}") + get, After: Stays,
				Answers: append(head(405, 426), sawThis("GET", "/plain?2", "")),
			},
			{
				Name: "of another path, and an upgrade", Needs: needs, Request: plain(PlainPath) + with(goodLine),
				Answers: append(head(200), opened()...), Send: text("a"), Want: []Event{wantText("a")},
			},
		},
	}, {
		ID: "head-upgrade-required", Section: "RFC 9110 §9.3.2", Level: Should,
		Text: "a plain HEAD of an endpoint is answered as a GET is: with 426 and the protocol that the endpoint wants",
		Cases: []Case{{Name: "plain HEAD", Request: plain("{path}"), Answers: []Answer{{
			Status: []int{http.StatusUpgradeRequired}, Head: true, Check: upgradeOffered,
		}}}},
	}}
}

// answerRules are about the response. RFC 6455 §4.2.2. Each case that opens a WebSocket also checks them.
func answerRules() []Rule {
	accept := Rule{
		ID: "accept", Section: "RFC 6455 §4.2.2",
		Text: "101 has Upgrade, Connection, and one Sec-WebSocket-Accept made from the key",
	}
	for _, key := range []string{
		sampleKey, "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w==", "x3JJHMbDL1EzLkh9GBhXDw==",
		"+/+/+/+/+/+/+/+/+/+/+w==",
	} {
		accept.Cases = append(accept.Cases, Case{Name: key, Request: with(goodLine, "Sec-WebSocket-Key: "+key)})
	}
	chose := func(want string) []Answer {
		return []Answer{{Status: []int{101}, Check: func(r *Response) error {
			if got := r.Header.Get("Sec-WebSocket-Protocol"); got != want {
				return fmt.Errorf("got subprotocol %q, want %q", got, want)
			}
			return nil
		}}}
	}
	offer := func(v string) string { return "Sec-WebSocket-Protocol: " + v + "\r\n" }
	needs := []Feature{Subprotocols}
	return []Rule{accept, {
		ID: "subprotocol", Section: "RFC 6455 §4.2.2",
		Text: "the server chooses one of the subprotocols that the client offers, or none",
		Cases: []Case{
			{Name: "none offered", Answers: chose("")},
			{Name: "unknown", Fields: offer("unknown.example"), Answers: chose("")},
			{Name: "one", Needs: needs, Fields: offer(SubprotocolA), Answers: chose(SubprotocolA)},
			{
				Name: "the client's first choice", Needs: needs, Fields: offer(SubprotocolB + ", " + SubprotocolA),
				Answers: chose(SubprotocolB),
			},
			{Name: "after an unknown one", Needs: needs, Fields: offer("x, " + SubprotocolB), Answers: chose(SubprotocolB)},
			{Name: "in two fields", Needs: needs, Fields: offer("x") + offer(SubprotocolA), Answers: chose(SubprotocolA)},
			{Name: "case matters", Fields: offer(strings.ToUpper(SubprotocolA)), Answers: chose("")},
			{Name: "empty elements", Needs: needs, Fields: offer(" , " + SubprotocolA + ",,"), Answers: chose(SubprotocolA)},
		},
	}, {
		ID: "upgrade-required", Section: "RFC 9110 §15.5.22", Level: Should,
		Text: "a plain GET of an endpoint is answered with 426 and the protocol that it wants",
		Cases: []Case{{
			Name: "plain GET", Request: "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n",
			Answers: []Answer{{Status: []int{http.StatusUpgradeRequired}, Check: upgradeOffered}},
		}},
	}, {
		ID: "expect", Section: "RFC 9110 §7.8", Text: "Expect: 100-continue does not keep the upgrade from happening",
		Cases: []Case{{Name: "without a body", Request: with(goodLine, "Expect: 100-continue")}},
	}, {
		ID: "data-behind-the-head", Section: "RFC 6455 §4.1", Level: Should,
		Text: "frames that arrive with the head are neither lost nor taken for HTTP",
		Cases: []Case{
			{
				Name: "message", Request: with(goodLine) + string(text("early")), Answers: opened(),
				Want: []Event{wantText("early")},
			},
			{Name: "close frame", Request: with(goodLine) + string(closing(1000, "")), Answers: opened(), Want: fails(1000)},
			{
				Name: "part of a frame", Request: with(goodLine) + string(text("early")[:3]), Send: text("early")[3:],
				Want: []Event{wantText("early")},
			},
			{
				Name: "a request", Request: with(goodLine) + "GET /plain HTTP/1.1\r\nHost: {host}\r\n\r\n",
				Want: fails(1002),
			},
		},
	}}
}

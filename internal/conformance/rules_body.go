package conformance

import (
	"fmt"
	"strings"
)

// smuggled is a request that hides in the body of another. Whoever finds it there has lost the end of the other one.
const smuggled = "GET " + PlainPath + "?smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"

// post returns a POST with fields and what follows its head.
func post(rest string, fields ...string) string {
	return "POST " + PlainPath + " HTTP/1.1\r\nHost: {host}\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n" + rest
}

// hiddenHandshake is a handshake for use as a body, whose length is known.
func hiddenHandshake() string {
	return strings.ReplaceAll(with("GET /hidden HTTP/1.1"), "{host}", "hidden.example")
}

// sawThis expects that the handler saw a request with a body.
func sawThis(method, target, body string) Answer {
	return Answer{Status: []int{200}, Check: func(r *Response) error {
		if want := saw(method, target, body); r.Body != want {
			return broke("the handler %q, want %q (RFC 9112 §6)", r.Body, want)
		}
		return nil
	}}
}

// bodyRules are about the ends of requests: RFC 9112 §6, §7, §9.3.
func bodyRules() []Rule {
	needs := []Feature{HTTP}
	pipeline := "GET /plain?1 HTTP/1.1\r\nHost: {host}\r\n\r\nGET /plain?2 HTTP/1.1\r\nHost: {host}\r\n\r\n"
	one, two := sawThis("GET", "/plain?1", ""), sawThis("GET", "/plain?2", "")
	hidden := hiddenHandshake()
	return []Rule{{
		ID: "pipelining", Section: "RFC 9112 §9.3.2", Text: "requests in one write are answered in their order",
		Cases: []Case{
			{Name: "two requests", Needs: needs, Request: pipeline, Answers: []Answer{one, two}, After: Stays},
			{
				Name: "and an upgrade", Needs: needs, Request: pipeline + with(goodLine), Answers: append([]Answer{one, two},
					opened()...),
				Send: text("a"), Want: []Event{wantText("a")},
			},
			{
				Name: "an upgrade behind a body", Needs: needs, Request: post("hello", "Content-Length: 5") + with(goodLine),
				Answers: append([]Answer{sawThis("POST", PlainPath, "hello")}, opened()...), Send: text("a"),
				Want: []Event{wantText("a")},
			},
			{
				Name: "an upgrade behind a chunked body", Needs: needs,
				Request: post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked") + with(goodLine),
				Answers: append([]Answer{sawThis("POST", PlainPath, "hello")}, opened()...), Send: text("a"),
				Want: []Event{wantText("a")},
			},
		},
	}, {
		ID: "body-is-no-request", Section: "RFC 9112 §6", Text: "what a body contains is never taken for a request",
		Cases: []Case{
			{
				Name: "a handshake in a body of known length", Needs: needs, After: Stays,
				Request: post(hidden, fmt.Sprintf("Content-Length: %d", len(hidden))),
				Answers: []Answer{sawThis("POST", PlainPath, hidden)},
			},
			{
				Name: "a handshake in a chunk", Needs: needs, After: Stays,
				Request: post(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden), "Transfer-Encoding: chunked"),
				Answers: []Answer{sawThis("POST", PlainPath, hidden)},
			},
			{
				Name: "the body of a GET", Needs: needs, After: Stays,
				Request: "GET /plain HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc",
				Answers: []Answer{sawThis("GET", PlainPath, "abc")},
			},
			{
				Name: "the body of a request without a handler for it", Needs: needs, Answers: refused(404, 405, 400),
				Request: strings.Replace(post(hidden, fmt.Sprintf("Content-Length: %d", len(hidden))), PlainPath, "/missing", 1),
			},
		},
	}}
}

// lengthRules are about requests whose end is in doubt. RFC 9112 §6, §7.
func lengthRules() []Rule {
	hidden := hiddenHandshake()
	return []Rule{{
		ID: "upgrade-with-body", Section: "RFC 9110 §7.8",
		Text: "an upgrade with a body is refused, and the body is neither frames nor a request",
		Cases: []Case{
			{Name: "Content-Length: 0 is none", Request: with(goodLine, "Content-Length: 0")},
			{Name: "Content-Length", Request: with(goodLine, "Content-Length: 5") + "hello", Answers: refused()},
			{
				Name: "a request as body", Request: with(goodLine, fmt.Sprintf("Content-Length: %d", len(hidden))) + hidden,
				Answers: refused(),
			},
			{Name: "a body that does not come", Request: with(goodLine, "Content-Length: 5"), Answers: refused()},
			{
				Name: "chunked", Request: with(goodLine, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n",
				Answers: refused(),
			},
			{Name: "no chunk", Request: with(goodLine, "Transfer-Encoding: chunked") + "0\r\n\r\n", Answers: refused()},
			{
				Name:    "both lengths",
				Request: with(goodLine, "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n", Answers: refused(),
			},
		},
	}, {
		ID: "content-length", Section: "RFC 9112 §6.3",
		Text:  "an invalid Content-Length is refused with 400, and the connection closed",
		Cases: badLengths(),
	}, {
		ID: "transfer-encoding", Section: "RFC 9112 §6.1",
		Text:  "a Transfer-Encoding that is unknown, or contradicts a Content-Length, is refused, and the connection closed",
		Cases: badCodings(),
	}, {
		ID: "chunks", Section: "RFC 9112 §7.1", Text: "chunks, extensions and trailers are read", Cases: goodChunks(),
	}, {
		ID: "malformed-chunks", Section: "RFC 9112 §7.1",
		Text: "a malformed chunk ends the connection: nothing behind it is a request", Cases: badChunks(),
	}}
}

func badLengths() (cases []Case) {
	for _, v := range []string{
		"+5", "-5", "-0", "0x5", "5a", "5.0", "5 5", "5, 6", "", "99999999999999999999", "9223372036854775808",
		"18446744073709551621",
		"1e1", "٥", "5;", "\"5\"", "0x", "5,",
	} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("%q", v), Request: post("hello"+smuggled, "Content-Length: "+v), Answers: refused(400),
			After: Ends,
		}, Case{
			Name: fmt.Sprintf("%q with an upgrade", v), Request: with(goodLine, "Content-Length: "+v) + "hello",
			Answers: refused(400),
		})
	}
	return append(
		cases,
		Case{
			Name: "two different ones", Request: post("hello!"+smuggled, "Content-Length: 5", "Content-Length: 6"),
			Answers: refused(400),
			After:   Ends,
		},
		Case{
			Name: "0 and another one", Request: post(smuggled, "Content-Length: 0", "Content-Length: 44"),
			Answers: refused(400), After: Ends,
		},
	)
}

func badCodings() (cases []Case) {
	body := "0\r\n\r\n" + smuggled
	for _, v := range []string{
		"identity", "xchunked", "chunkedx", "chunked, identity", "chunked, chunked", "gzip", "x, chunked", "\"chunked\"",
		"chunked;a=b",
		"chunked;", ", chunked", "chunked,", "", "cow", "chunked\x0b", "\x0bchunked", "chunked, gzip", "chu nked",
	} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("%q", v), Request: post(body, "Transfer-Encoding: "+v), Answers: refused(400, 501), After: Ends,
		})
	}
	conflict := []struct{ name, a, b string }{
		{"Content-Length first", "Content-Length: 5", "Transfer-Encoding: chunked"},
		{"Content-Length last", "Transfer-Encoding: chunked", "Content-Length: 5"},
		{"Content-Length: 0", "Content-Length: 0", "Transfer-Encoding: chunked"},
		{"two codings", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"},
		{"a coding and identity", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"},
		{"space before the colon", "Content-Length: 5", "Transfer-Encoding : chunked"},
		{"folded", "Content-Length: 5", "Transfer-Encoding:\r\n chunked"},
		{"tab before the name", "Content-Length: 5", "\tTransfer-Encoding: chunked"},
		{"name with an underscore is another field", "Content-Length: x", "Transfer_Encoding: chunked"},
	}
	for _, c := range conflict {
		cases = append(cases, Case{
			Name: c.name, Request: post(body, c.a, c.b), Answers: refused(400, 501), After: Ends,
		})
	}
	return append(cases, Case{
		Name: "in HTTP/1.0", Answers: refused(400, 501), After: Ends,
		Request: strings.Replace(post(body, "Transfer-Encoding: chunked", "Connection: keep-alive"), "HTTP/1.1",
			"HTTP/1.0", 1),
	})
}

func goodChunks() []Case {
	const coding = "Transfer-Encoding: chunked"
	c := func(name, body, want string) Case {
		return Case{
			Name: name, Needs: []Feature{HTTP}, Request: post(body, coding), Answers: []Answer{sawThis("POST", PlainPath, want)},
			After: Stays,
		}
	}
	return []Case{
		c("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
		c("several chunks", "1\r\nh\r\n2\r\nel\r\n02\r\nlo\r\n000\r\n\r\n", "hello"),
		c("hexadecimal in both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a"),
		c("extension", "5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello"),
		c("extension in quotes", "5;name=\"a;b\"\r\nhello\r\n0\r\n\r\n", "hello"),
		c("trailer", "5\r\nhello\r\n0\r\nX-A: a\r\nX-B: b\r\n\r\n", "hello"),
		c("a trailer that looks like a length", "5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n", "hello"),
		c("data that looks like a chunk", "9\r\n0\r\n\r\nGET \r\n0\r\n\r\n", "0\r\n\r\nGET "),
		{
			Name: "coding in upper case", Needs: []Feature{HTTP}, Request: post("1\r\na\r\n0\r\n\r\n",
				"Transfer-Encoding: CHUNKED"),
			Answers: []Answer{sawThis("POST", PlainPath, "a")}, After: Stays,
		},
	}
}

func badChunks() (cases []Case) {
	for name, body := range map[string]string{
		"size that is no number": "g\r\nhello\r\n0\r\n\r\n", "negative size": "-5\r\nhello\r\n0\r\n\r\n",
		"0x":         "0x5\r\nhello\r\n0\r\n\r\n",
		"empty size": "\r\nhello\r\n0\r\n\r\n", "space before the size": " 5\r\nhello\r\n0\r\n\r\n",
		"size beyond 64 bits":                  "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"line feed after the size":             "5\nhello\r\n0\r\n\r\n",
		"line feed in an extension":            "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"carriage return after the size":       "5\rhello\r\n0\r\n\r\n",
		"carriage return in an extension":      "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"data longer than the size":            "4\r\nhello\r\n0\r\n\r\n",
		"data shorter than the size":           "6\r\nhello\r\n0\r\n\r\n",
		"no line end after the data":           "5\r\nhello0\r\n\r\n",
		"line feed after the data":             "5\r\nhello\n0\r\n\r\n",
		"line feed at the end":                 "5\r\nhello\r\n0\n\n",
		"line feed after a trailer":            "5\r\nhello\r\n0\r\nX-A: a\n\r\n",
		"size with an underscore":              "1_0\r\nhello\r\n0\r\n\r\n",
		"two sizes":                            "5,5\r\nhello\r\n0\r\n\r\n",
		"plus":                                 "+5\r\nhello\r\n0\r\n\r\n",
		"a request instead of the chunk":       smuggled,
		"a request behind one carriage return": "0\r\n\r" + smuggled,
	} {
		cases = append(cases, Case{
			Name: name, Needs: []Feature{HTTP}, Request: post(body+smuggled, "Transfer-Encoding: chunked"),
			Answers: []Answer{{MayEnd: true}}, After: Ends,
		})
	}
	return cases
}

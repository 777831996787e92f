package conformance

import (
	"net/http"
	"strings"
)

const (
	// Question is a text message that a server with the feature Proxied or Direct answers with the address of the
	// client, without a port. It echoes all other messages.
	Question = "client?"
	// ClientField is a field of each response of such a server: the client's address and, if a proxy has told, the scheme.
	ClientField = "X-Client"

	// peer is the address that the suite connects from.
	peer = "127.0.0.1"
	// through is what a proxy adds to requests of all cases that do not send it themselves.
	through = "Forwarded: for=\"[2001:db8::17]:4711\";proto=https;by=_conformance\r\nX-Forwarded-Proto: https\r\n"
)

// proxied returns a request as a proxy passes it on to a target with the feature Proxied. Bodies stay as they are.
func (t *Target) proxied(request string) string {
	const host = "\r\n" + hostField + "\r\n"
	if !t.has([]Feature{Proxied}) || strings.Contains(strings.ToLower(request), "forwarded") {
		return request
	}
	head, rest, hasEnd := strings.Cut(request, "\r\n\r\n")
	if !hasEnd {
		return request
	}
	return strings.Replace(head, host, host+through, 1) + "\r\n\r\n" + rest
}

// forwardedRules are about the client behind proxies: RFC 7239, and X-Forwarded-For.
func forwardedRules() []Rule {
	return []Rule{{
		ID: "forwarded-client", Section: "RFC 7239 §5.2",
		Text: "the client is the right-most address that is not a trusted proxy", Cases: clientCases(),
	}, {
		ID: "forwarded-forged", Section: "RFC 7239 §8.1", Text: "what no trusted proxy has written names nobody",
		Cases: forgedCases(),
	}, {
		ID: "forwarded-request", Section: "RFC 7239 §4", Text: "each request of a connection has a client of its own",
		Cases: []Case{{
			Name: "two requests and an upgrade", Needs: []Feature{Proxied, HTTP},
			Request: "GET /plain?1 HTTP/1.1\r\nHost: {host}\r\nForwarded: for=192.0.2.1;proto=https\r\n\r\n" +
				"GET /plain?2 HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n" +
				with(goodLine, "Forwarded: for=192.0.2.3"),
			Answers: append([]Answer{from("192.0.2.1 https"), from("192.0.2.2")}, opened()...),
			Send:    text(Question), Want: []Event{wantText("192.0.2.3")},
		}, {
			Name: "a request without fields after one with them", Needs: []Feature{Proxied, HTTP},
			Request: "GET /plain?1 HTTP/1.1\r\nHost: {host}\r\nForwarded: for=192.0.2.1\r\n\r\n" +
				"GET /plain?2 HTTP/1.1\r\nHost: {host}\r\n\r\n",
			Answers: []Answer{from("192.0.2.1"), from(peer)}, After: Stays,
		}},
	}}
}

// from expects that a request was served for a client.
func from(client string) Answer {
	return Answer{Status: []int{http.StatusOK}, Check: func(r *Response) error {
		if got := r.Header.Get(ClientField); got != client {
			return broke("the client is %q, want %q (RFC 7239 §5.2)", got, client)
		}
		return nil
	}}
}

// asks returns cases of a handshake with fields whose client is to be known.
func asks(feature Feature, list [][3]string) (cases []Case) {
	for _, c := range list {
		name, fields, client := c[0], c[1], c[2]
		cases = append(cases, Case{
			Name: name, Needs: []Feature{feature}, Request: with(goodLine, "+"+fields),
			Send: text(Question), Want: []Event{wantText(client)},
		})
	}
	return cases
}

func clientCases() []Case {
	return asks(Proxied, [][3]string{
		{"address", "Forwarded: for=192.0.2.1", "192.0.2.1"},
		{"address in quotes", `Forwarded: for="192.0.2.1"`, "192.0.2.1"},
		{"address with a port", `Forwarded: for="192.0.2.1:4711"`, "192.0.2.1"},
		{"IPv6", `Forwarded: for="[2001:db8::17]"`, "2001:db8::17"},
		{"IPv6 with a port", `Forwarded: for="[2001:db8::17]:4711"`, "2001:db8::17"},
		{"names in any case", "fORWARDED: FOR=192.0.2.1;Proto=HTTPS;BY=_a;hOST=a", "192.0.2.1"},
		{"further parameters", `Forwarded: by="_a";for=192.0.2.1;host="a.example:80";x="\"y\";,"`, "192.0.2.1"},
		{"the last of a list", "Forwarded: for=198.51.100.1, for=192.0.2.1", "192.0.2.1"},
		{"empty elements", "Forwarded: , for=192.0.2.1 ,,", "192.0.2.1"},
		{"a chain of trusted proxies", "Forwarded: for=192.0.2.1, for=127.0.0.2,for=127.0.0.3", "192.0.2.1"},
		{"only trusted proxies", "Forwarded: for=127.0.0.2, for=127.0.0.3", "127.0.0.2"},
		{"two fields", "Forwarded: for=192.0.2.1\r\nForwarded: for=127.0.0.2", "192.0.2.1"},
		{"unknown", "Forwarded: for=unknown;proto=https", peer},
		{"hidden", "Forwarded: for=_hidden", peer},
		{"hidden behind a trusted proxy", "Forwarded: for=_hidden, for=127.0.0.2", "127.0.0.2"},
		{"X-Forwarded-For", "X-Forwarded-For: 192.0.2.1", "192.0.2.1"},
		{"the last of X-Forwarded-For", "X-Forwarded-For: 198.51.100.1, 192.0.2.1", "192.0.2.1"},
		{"IPv6 in X-Forwarded-For", "X-Forwarded-For: 2001:db8::17", "2001:db8::17"},
		{"a chain in X-Forwarded-For", "X-Forwarded-For: 192.0.2.1, 127.0.0.2", "192.0.2.1"},
		{"both fields", "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1", "192.0.2.1"},
		{"neither field", "X-Forwarded-Host: a.example", peer},
	})
}

func forgedCases() []Case {
	return append(asks(Proxied, [][3]string{
		{"an open quotation mark to the left", `Forwarded: for="198.51.100.1, for=192.0.2.1`, "192.0.2.1"},
		{"nonsense to the left", "Forwarded: =;=,,\"\\, for=192.0.2.1", "192.0.2.1"},
		{"nonsense in the field before", "Forwarded: \"\r\nForwarded: for=192.0.2.1", "192.0.2.1"},
		{"nonsense in X-Forwarded-For", "X-Forwarded-For: a b, 192.0.2.1", "192.0.2.1"},
		{"no address", "Forwarded: for=192.0.2", peer},
		{"no value", "Forwarded: for=", peer},
		{"an open quotation mark", `Forwarded: for="192.0.2.1`, peer},
		{"twice", "Forwarded: for=192.0.2.1;for=192.0.2.2", peer},
		{"two fields that differ", "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2", peer},
	}), asks(Direct, [][3]string{
		{"Forwarded of a peer that is not trusted", "Forwarded: for=192.0.2.1", peer},
		{"X-Forwarded-For of a peer that is not trusted", "X-Forwarded-For: 192.0.2.1", peer},
		{"malformed, of a peer that is not trusted", "Forwarded: =", peer},
	})...)
}

package ws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ClientRequest is the opening handshake of a client. RFC 6455 §4.1.
type ClientRequest struct {
	Host         string   // host with optional port
	Target       string   // path and query; empty means "/"
	Key          [16]byte // must be random
	Subprotocols []string // in order of preference
	Extensions   string   // the value of Sec-WebSocket-Extensions; empty offers none
	Header       []Field  // more fields, such as Origin and Authorization
}

// AppendRequest appends the request to dst. It fails, and appends nothing, if a part of it contains characters that its
// line may not have.
func (c *ClientRequest) AppendRequest(dst []byte) ([]byte, error) {
	before := len(dst)
	target := c.Target
	if target == "" {
		target = "/"
	}
	if target[0] != '/' || !isTarget(target) || c.Host == "" || !isHost(c.Host) {
		return dst, errHeader
	}
	if _, err := url.ParseRequestURI(target); err != nil {
		return dst, errHeader
	}
	dst = fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", target, c.Host, c.key())
	if len(c.Subprotocols) > 0 {
		if err := checkSubprotocols(c.Subprotocols); err != nil {
			return dst[:before], fmt.Errorf("ws: %w", err)
		}
		dst = fmt.Appendf(dst, "Sec-WebSocket-Protocol: %s\r\n", strings.Join(c.Subprotocols, ", "))
	}
	if c.Extensions != "" {
		if _, err := ParseExtensions([]string{c.Extensions}); err != nil {
			return dst[:before], fmt.Errorf("ws: %w", err)
		}
		dst = fmt.Appendf(dst, "Sec-WebSocket-Extensions: %s\r\n", c.Extensions)
	}
	dst, err := appendFields(dst, c.Header)
	if err != nil {
		return dst[:before], err
	}
	return append(dst, "\r\n"...), nil
}

func (c *ClientRequest) key() string { return base64.StdEncoding.EncodeToString(c.Key[:]) }

// ResponseError means that the server did not open the WebSocket.
type ResponseError struct {
	Status int // HTTP status; 101 if the response itself breaks a rule
	Reason string
}

// Error returns the status and the reason.
func (e *ResponseError) Error() string {
	return fmt.Sprintf("ws: server answered %d: %s", e.Status, e.Reason)
}

// ParseResponse parses a complete response head, as delimited by HeadEnd, and checks all rules of RFC 6455 §4.1. It
// returns the server's choices in Subprotocol and Extensions, and the proof in Accept. If an extension was offered, the
// caller has to check the extensions that the server chose; if none was offered, ParseResponse accepts none. If the
// server refused or broke a rule, the error is a *ResponseError.
func (c *ClientRequest) ParseResponse(head []byte) (Handshake, error) {
	text, ok := headText(head)
	if !ok {
		return Handshake{}, errors.New("ws: incomplete response head")
	}
	line, text, _ := strings.Cut(text, "\r\n")
	version, rest, _ := strings.Cut(line, " ")
	major, minor, ok := parseVersion(version)
	status := parseStatus(rest)
	switch {
	case !ok || major != 1 || status == 0:
		return Handshake{}, errors.New("ws: response is not HTTP/1.1")
	case status != 101:
		return Handshake{}, &ResponseError{Status: status, Reason: "no upgrade"}
	case minor == 0:
		return Handshake{}, &ResponseError{Status: status, Reason: "upgrade in HTTP/1.0"} // RFC 9110 §7.8
	}
	var fields []Field
	for text != "" {
		if len(fields) == maxFields {
			return Handshake{}, &ResponseError{Status: status, Reason: "too many header fields"}
		}
		line, text, _ = strings.Cut(text, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !isFieldValue(value) {
			return Handshake{}, &ResponseError{Status: status, Reason: "malformed header field"}
		}
		fields = append(fields, Field{Name: name, Value: value})
	}
	return c.judge(fields)
}

// parseStatus parses the status code after the version: three digits. It returns 0 for anything else. RFC 9112 §4.
func parseStatus(s string) int {
	code, _, _ := strings.Cut(s, " ")
	if len(code) != 3 || code[0] == '0' {
		return 0
	}
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil {
		return 0
	}
	return int(status)
}

// judge checks the fields of a 101 response.
func (c *ClientRequest) judge(fields []Field) (h Handshake, err error) {
	fault := func(reason string) (Handshake, error) {
		return Handshake{}, &ResponseError{Status: 101, Reason: reason}
	}
	if !hasToken(fields, "Upgrade", "websocket") || !hasToken(fields, "Connection", "upgrade") {
		return fault("no Upgrade: websocket")
	}
	h.Accept = accept(c.key())
	if v := values(fields, "Sec-WebSocket-Accept"); len(v) != 1 || v[0] != h.Accept {
		return fault("wrong Sec-WebSocket-Accept")
	}
	h.Extensions = strings.Join(values(fields, "Sec-WebSocket-Extensions"), ", ")
	switch chosen, err := ParseExtensions([]string{h.Extensions}); {
	case err != nil: // §9.1
		return fault(err.Error())
	case len(chosen) == 0:
		h.Extensions = ""
	case c.Extensions == "":
		return fault("extension was not offered")
	}
	switch v := values(fields, "Sec-WebSocket-Protocol"); {
	case len(v) == 0:
	case len(v) == 1 && slices.Contains(c.Subprotocols, v[0]):
		h.Subprotocol = v[0]
	default:
		return fault("subprotocol was not offered")
	}
	return h, nil
}

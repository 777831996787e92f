package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// HandshakeError is a refused opening handshake and the answer of the server.
type HandshakeError struct {
	Status int    // HTTP status, 400 to 599
	Reason string // for the client; also the body if Body is nil
	Header []Field
	// Body is the body of the answer, of type ContentType. If it is nil, the reason is sent as text.
	Body        []byte
	ContentType string
}

// Error returns the reason and the status.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("ws: handshake: %s (%d)", e.Reason, e.Status)
}

func badRequest(reason string) *HandshakeError {
	return &HandshakeError{Status: statusBadRequest, Reason: reason}
}

// Handshake is the answer of a server to a valid request.
type Handshake struct {
	Accept      string  // proof that the server has read the key
	Subprotocol string  // the chosen one, or ""
	Extensions  string  // the value of Sec-WebSocket-Extensions, or ""; negotiated by the caller, see ws/deflate
	Header      []Field // more fields, which the caller may set
}

// Negotiate checks all rules of RFC 6455 §4.2.1 for a request and chooses a subprotocol: the first one offered by the
// client that is in subprotocols. It checks the syntax of the offered extensions, and leaves it to the caller to accept
// one. An error is a *HandshakeError.
func (r *Request) Negotiate(subprotocols []string) (Handshake, error) {
	var h Handshake
	switch {
	case r.Method != "GET":
		return h, &HandshakeError{Status: statusMethodNotAllowed, Reason: "want GET", Header: []Field{{"Allow", "GET"}}}
	case r.Minor < 1:
		return h, badRequest("want HTTP/1.1")
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return h, &HandshakeError{
			Status: statusUpgradeRequired, Reason: "want Upgrade: websocket", Header: []Field{{"Upgrade", "websocket"}},
		}
	case !hasToken(r.Header, "Connection", "upgrade"):
		return h, badRequest("want Connection: Upgrade")
	case r.ContentLength != 0:
		return h, badRequest("want no body")
	}
	if v := r.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != "13" { // §4.2.2, §4.4
		return h, &HandshakeError{
			Status: statusUpgradeRequired, Reason: "want Sec-WebSocket-Version: 13",
			Header: []Field{{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}},
		}
	}
	keys := r.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return h, badRequest("want one Sec-WebSocket-Key")
	}
	// The bits after the 16 bytes may be set: the example key of RFC 6455 §4.1 has some.
	if raw, err := base64.StdEncoding.DecodeString(keys[0]); err != nil || len(raw) != 16 {
		return h, badRequest("want 16 bytes of base64 as Sec-WebSocket-Key")
	}
	offered := list(r.Header, "Sec-WebSocket-Protocol")
	if err := checkSubprotocols(offered); err != nil {
		return h, badRequest(err.Error())
	}
	for _, p := range offered {
		if slices.Contains(subprotocols, p) {
			h.Subprotocol = p
			break
		}
	}
	if _, err := ParseExtensions(r.Values("Sec-WebSocket-Extensions")); err != nil { // §9.1
		return Handshake{}, badRequest(err.Error())
	}
	h.Accept = accept(keys[0])
	return h, nil
}

// checkSubprotocols rejects names that are not tokens or occur twice. RFC 6455 §4.1.
func checkSubprotocols(offered []string) error {
	for i, p := range offered {
		switch {
		case !isToken(p):
			return errors.New("malformed Sec-WebSocket-Protocol")
		case slices.Contains(offered[:i], p):
			return errors.New("subprotocol offered twice")
		}
	}
	return nil
}

// accept returns the proof for a key. RFC 6455 §4.2.2.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AppendResponse appends the answer that opens the WebSocket to dst. It fails, and appends nothing, if Accept is empty
// or a field contains characters that its line may not have. RFC 6455 §4.2.2.
func AppendResponse(dst []byte, h Handshake) ([]byte, error) {
	before := len(dst)
	if h.Accept == "" || !isFieldValue(h.Accept) || h.Subprotocol != "" && !isToken(h.Subprotocol) ||
		!isFieldValue(h.Extensions) {
		return dst, errHeader
	}
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	dst = append(append(dst, h.Accept...), "\r\n"...)
	if h.Subprotocol != "" {
		dst = append(append(append(dst, "Sec-WebSocket-Protocol: "...), h.Subprotocol...), "\r\n"...)
	}
	if h.Extensions != "" {
		dst = append(append(append(dst, "Sec-WebSocket-Extensions: "...), h.Extensions...), "\r\n"...)
	}
	dst, err := appendFields(dst, h.Header)
	if err != nil {
		return dst[:before], err
	}
	return append(dst, "\r\n"...), nil
}

// AppendRefusal appends the answer that refuses a handshake to dst. The connection must be closed after it. Fields with
// characters that their line may not have are left out. To a HEAD, send only what HeadEnd delimits: RFC 9110 §9.3.2.
func AppendRefusal(dst []byte, e *HandshakeError) []byte {
	body, kind := []byte(e.Reason+"\n"), "text/plain; charset=utf-8"
	if e.Body != nil && isFieldValue(e.ContentType) {
		body, kind = e.Body, e.ContentType
	}
	connection := "close"
	if len(values(e.Header, "Upgrade")) > 0 {
		connection = "Upgrade, close" // RFC 9110 §7.8
	}
	dst = fmt.Appendf(dst, "HTTP/1.1 %d %s\r\nConnection: %s\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\n", e.Status, statusText(e.Status), connection, kind, len(body))
	for _, f := range e.Header {
		if with, err := appendFields(dst, []Field{f}); err == nil {
			dst = with
		}
	}
	return append(append(dst, "\r\n"...), body...)
}

// errHeader means that a header field contains characters that it may not have.
var errHeader = errors.New("ws: malformed header field")

func appendFields(dst []byte, fields []Field) ([]byte, error) {
	for _, f := range fields {
		if !isToken(f.Name) || !isFieldValue(f.Value) {
			return dst, errHeader
		}
		dst = append(append(append(append(dst, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	return dst, nil
}

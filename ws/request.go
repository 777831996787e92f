package ws

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// Field is an HTTP header field.
type Field struct{ Name, Value string }

// Request is the head of an HTTP request. Its strings are copies and stay valid when the buffer is reused.
type Request struct {
	Method   string
	Target   string  // as in the request line
	Path     string  // path of the target, unescaped
	RawPath  string  // path of the target, as in the request line
	RawQuery string  // query of the target, as in the request line
	Minor    int     // minor version of HTTP/1.x
	Host     string  // from the target if that has a host, else from the Host field
	Header   []Field // in order, including Host
	// ContentLength is the number of bytes in the body, or -1 if the body is chunked.
	ContentLength int64
}

// maxFields is the maximum number of header fields, whatever their length.
const maxFields = 128

// HeadEnd returns the length of the head at the start of b, including the empty line, or -1 if the head is incomplete.
// The first from bytes are known not to contain the end: pass the length of b at the previous call, or 0 at the first.
func HeadEnd(b []byte, from int) int {
	from = min(max(from-3, 0), len(b))
	i := bytes.Index(b[from:], []byte("\r\n\r\n"))
	if i < 0 {
		return -1
	}
	return from + i + 4
}

// EmptyLines returns the length of the empty lines at the start of b, which a server should ignore. RFC 9112 §2.2.
func EmptyLines(b []byte) int {
	n := 0
	for bytes.HasPrefix(b[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// CheckHead reports an error in an incomplete request head, so that a server need not wait for its end: a byte that
// cannot start a request line, a line that does not end in CRLF, or a control character. It returns a *HandshakeError
// or nil. The first from bytes were checked by previous calls.
func CheckHead(b []byte, from int) error {
	for i := max(from-1, 0); i < len(b); i++ {
		switch c := b[i]; {
		case i == 0 && c != '\r' && !isTokenByte(c):
			return badRequest("malformed request line")
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return badRequest("line feed without a carriage return")
		case c == '\r' && i+1 < len(b) && b[i+1] != '\n':
			return badRequest("carriage return without a line feed")
		case c < ' ' && c != '\t' && c != '\r' && c != '\n', c == 0x7f:
			return badRequest("control character in the request head")
		}
	}
	return nil
}

// headText copies head without the empty line. It reports false if head is not exactly one head.
func headText(head []byte) (string, bool) {
	if len(head) == 0 || HeadEnd(head, 0) != len(head) {
		return "", false
	}
	return string(head[:len(head)-4]), true
}

// ParseRequest parses a complete request head, as delimited by HeadEnd. It is stricter than most servers: it accepts no
// folded lines, no bare line feeds and no space before a colon, and requires exactly one Host, except in HTTP/1.0, and
// one length of the body. RFC 9112 §2.2, §3, §5, §6. An error is a *HandshakeError with the status to answer.
func ParseRequest(head []byte) (Request, error) {
	var r Request
	text, ok := headText(head)
	if !ok {
		return r, badRequest("incomplete request head")
	}
	line, text, _ := strings.Cut(text, "\r\n")
	if err := r.parseLine(line); err != nil {
		return r, err
	}
	for text != "" {
		line, text, _ = strings.Cut(text, "\r\n")
		if len(r.Header) == maxFields {
			return r, &HandshakeError{Status: statusFieldsTooLarge, Reason: "too many header fields"}
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !isFieldValue(value) {
			return r, badRequest("malformed header field")
		}
		r.Header = append(r.Header, Field{Name: name, Value: value})
	}
	hosts := r.Values("Host")
	switch { // RFC 9112 §3.2
	case len(hosts) > 1, len(hosts) == 0 && r.Minor > 0:
		return r, badRequest("want one Host")
	case len(hosts) == 0:
		return r, r.parseFraming()
	case !isHost(hosts[0]):
		return r, badRequest("malformed Host")
	case r.Host == "": // otherwise the target has set it
		r.Host = hosts[0]
	}
	return r, r.parseFraming()
}

// parseLine parses the request line. RFC 9112 §3.
func (r *Request) parseLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	major, minor, ok := parseVersion(version)
	switch {
	case !ok || !isToken(method):
		return badRequest("malformed request line")
	case major != 1:
		return &HandshakeError{Status: statusVersion, Reason: "want HTTP/1.1"}
	case !isTarget(target):
		return badRequest("malformed request target")
	}
	r.Method, r.Target, r.Minor = method, target, minor
	return r.parseTarget()
}

// parseVersion parses the HTTP version: a digit, a period, a digit. RFC 9112 §2.3.
func parseVersion(s string) (major, minor int, ok bool) {
	s, ok = strings.CutPrefix(s, "HTTP/")
	if !ok || len(s) != 3 || !isDigit(s[0]) || s[1] != '.' || !isDigit(s[2]) {
		return 0, 0, false
	}
	return int(s[0] - '0'), int(s[2] - '0'), true
}

// parseTarget parses the origin form, and takes host and path from the absolute form. RFC 9112 §3.2.
func (r *Request) parseTarget() error {
	if r.Target == "*" || r.Method == "CONNECT" {
		return nil // never a WebSocket: the HTTP server judges it
	}
	u, err := url.ParseRequestURI(r.Target)
	if err != nil {
		return badRequest("malformed request target")
	}
	if r.Target[0] != '/' {
		if u.Host == "" || u.User != nil || !isHost(u.Host) {
			return badRequest("malformed request target")
		}
		r.Host = u.Host // RFC 9112 §3.2.2: it overrides the Host field
	}
	r.Path, r.RawPath, r.RawQuery = u.Path, u.EscapedPath(), u.RawQuery
	if r.Path == "" {
		r.Path, r.RawPath = "/", "/"
	}
	return nil
}

// Get returns the value of the first field with the given name, or "". Case does not matter.
func (r *Request) Get(name string) string {
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Values returns the values of all fields with the given name. Case does not matter.
func (r *Request) Values(name string) []string { return values(r.Header, name) }

// WantsUpgrade reports whether the client asks for a WebSocket, even if its request is not valid. RFC 6455 §4.1.
func (r *Request) WantsUpgrade() bool {
	return r.Method == "GET" && hasToken(r.Header, "Upgrade", "websocket")
}

func values(fields []Field, name string) []string {
	var v []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			v = append(v, f.Value)
		}
	}
	return v
}

// list returns the elements of the comma-separated lists in all fields with the given name, without empty elements. RFC
// 9110 §5.6.1.2.
func list(fields []Field, name string) []string {
	var elements []string
	for _, v := range values(fields, name) {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.Trim(e, " \t"); e != "" {
				elements = append(elements, e)
			}
		}
	}
	return elements
}

// hasToken reports whether the comma-separated lists of all fields with the given name contain token, in any case.
func hasToken(fields []Field, name, token string) bool {
	return slices.ContainsFunc(list(fields, name), func(e string) bool { return strings.EqualFold(e, token) })
}

// isToken reports whether s is a token. RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isTarget reports whether s consists of bytes that a request target may have: visible ASCII without a fragment. RFC
// 6455 §3.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s may be the value of a field. RFC 9110 §5.5.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

package ws

import (
	"bytes"
	"net/url"
	"strings"
)

// Field is one header field of HTTP.
type Field struct{ Name, Value string }

// Request is the head of an HTTP request. Its strings are copies: they stay valid when the buffer is used again.
type Request struct {
	Method   string
	Target   string // as it stands in the request line
	Path     string // of the target, unescaped
	RawQuery string // of the target, as it stands there
	Minor    int    // of HTTP/1.x
	Host     string
	Header   []Field // in order, Host included
}

// maxFields bounds the number of header fields, whatever their length.
const maxFields = 128

// HeadEnd returns the length of the head at the start of b, the empty line included, or -1 if it is not complete. The
// first from bytes are known not to hold the end.
func HeadEnd(b []byte, from int) int {
	from = max(from-3, 0)
	i := bytes.Index(b[from:], []byte("\r\n\r\n"))
	if i < 0 {
		return -1
	}
	return from + i + 4
}

// ParseRequest reads a whole request head, as HeadEnd delimits it. It is stricter than servers for browsers: no folded
// lines, no bare line feeds, no space before a colon, exactly one Host. RFC 9112 §2.2, §3, §5. An error is a
// *HandshakeError, which says what to answer.
func ParseRequest(head []byte) (Request, error) {
	var r Request
	text, ok := strings.CutSuffix(string(head), "\r\n\r\n")
	if !ok {
		return r, badRequest("request head has no end")
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
	if len(hosts) != 1 { // RFC 9112 §3.2
		return r, badRequest("want one Host")
	}
	r.Host = hosts[0]
	if strings.ContainsAny(r.Host, " \t,/?#@") {
		return r, badRequest("malformed Host")
	}
	return r, nil
}

// parseLine reads the request line. RFC 9112 §3.
func (r *Request) parseLine(line string) error {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) || target == "" {
		return badRequest("malformed request line")
	}
	switch {
	case len(version) != len("HTTP/1.1") || !strings.HasPrefix(version, "HTTP/"):
		return badRequest("malformed request line")
	case version == "HTTP/1.1":
		r.Minor = 1
	case version != "HTTP/1.0":
		return &HandshakeError{Status: statusVersion, Reason: "want HTTP/1.1"}
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f {
			return badRequest("malformed request target")
		}
	}
	r.Method, r.Target = method, target
	return r.parseTarget()
}

// parseTarget reads the origin form, and takes the path out of the absolute form. RFC 9112 §3.2.
func (r *Request) parseTarget() error {
	if r.Target == "*" || r.Method == "CONNECT" {
		return nil // not for us; whoever answers judges it
	}
	u, err := url.ParseRequestURI(r.Target)
	if err != nil {
		return badRequest("malformed request target")
	}
	r.Path, r.RawQuery = u.Path, u.RawQuery
	if r.Path == "" {
		r.Path = "/"
	}
	return nil
}

// Get returns the value of the first field with a name, in any case, or nothing.
func (r *Request) Get(name string) string {
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Values returns the values of all fields with a name, in any case.
func (r *Request) Values(name string) []string { return values(r.Header, name) }

// WantsUpgrade says whether the client asks for a WebSocket at all, be it properly or not. RFC 6455 §4.1.
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

// hasToken says whether the comma-separated lists of all fields with a name hold a token, in any case.
func hasToken(fields []Field, name, token string) bool {
	for _, v := range values(fields, name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(t, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// isToken says whether s is a token. RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue says whether s may be the value of a field. RFC 9110 §5.5.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

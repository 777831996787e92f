package forwarded

import (
	"errors"
	"net/netip"
	"strings"
)

// Fields are the values of the header fields that name the client of a request, in the order in which they were sent.
type Fields struct {
	Forwarded, For, Proto []string // Forwarded, X-Forwarded-For, X-Forwarded-Proto
}

// Collect adds a header field if it is one of Fields.
func (f *Fields) Collect(name, value string) {
	switch {
	case strings.EqualFold(name, "Forwarded"):
		f.Forwarded = append(f.Forwarded, value)
	case strings.EqualFold(name, "X-Forwarded-For"):
		f.For = append(f.For, value)
	case strings.EqualFold(name, "X-Forwarded-Proto"):
		f.Proto = append(f.Proto, value)
	}
}

// Client is who sent a request.
type Client struct {
	// Addr is the client's address, with port 0 if the proxy does not name its port.
	Addr netip.AddrPort
	// Scheme is http or https; empty if no trusted proxy has told.
	Scheme string
	// Err is why the fields do not name the client. Addr is then that of the peer.
	Err error
}

// Reasons of Client.Err.
var (
	// ErrInvalid means that a field is malformed where a trusted proxy has written, or names more than 32 trusted
	// proxies.
	ErrInvalid = errors.New("forwarded: invalid header field")
	// ErrConflict means that Forwarded and X-Forwarded-For name different clients. A proxy that sets one of them and
	// passes the other on unchanged lets the client choose that one.
	ErrConflict = errors.New("forwarded: Forwarded and X-Forwarded-For name different clients")
)

// maxHops is the maximum number of trusted proxies that a request may have passed.
const maxHops = 32

// hop is a client or proxy that a proxy names.
type hop struct {
	addr    netip.AddrPort
	proto   string // how it reached the proxy that names it; empty if that proxy does not tell
	unnamed bool   // the proxy does not tell its address
}

// Client returns the client of a request with the given fields from a trusted peer: the right-most address that is not
// trusted or, if all are trusted, the left-most one. A proxy that does not tell where a request comes from is
// the client.
func (t *Trust) Client(peer netip.AddrPort, f *Fields) Client {
	from, named, err := t.walk(peer, list{values: f.Forwarded, last: lastElement})
	if err != nil {
		return Client{Addr: peer, Err: err}
	}
	other, also, err := t.walk(peer, list{values: f.For, last: lastAddress})
	switch {
	case err != nil:
	case !named:
		from = other
	case also && from.addr.Addr() != other.addr.Addr():
		err = ErrConflict
	case also && from.addr.Port() == 0:
		from.addr = other.addr
	}
	if err != nil {
		return Client{Addr: peer, Err: err}
	}
	scheme, err := schemeOf(from.proto, f.Proto)
	return Client{Addr: from.addr, Scheme: scheme, Err: err}
}

// walk follows a list from the right as far as it is trusted. It reports whether the list has elements.
func (t *Trust) walk(peer netip.AddrPort, l list) (from hop, named bool, err error) {
	from.addr = peer
	for range maxHops {
		h, more, err := l.next()
		switch {
		case err != nil:
			return hop{}, true, err
		case !more:
			return from, named, nil
		case h.unnamed:
			from.proto = h.proto
			return from, true, nil
		case !t.Trusts(h.addr.Addr()):
			return h, true, nil
		}
		from, named = h, true
	}
	return hop{}, true, ErrInvalid
}

// schemeOf returns the scheme that the proto of Forwarded and X-Forwarded-Proto agree on. Of several values of the
// latter, the last one counts: the peer has written it.
func schemeOf(proto string, fields []string) (string, error) {
	scheme, err := parseScheme(proto)
	if err != nil || len(fields) == 0 {
		return scheme, err
	}
	value := fields[len(fields)-1]
	other, err := parseScheme(strings.Trim(value[strings.LastIndexByte(value, ',')+1:], " \t"))
	if scheme != "" && other != scheme {
		err = ErrInvalid
	}
	if err != nil {
		return "", err
	}
	return other, nil
}

// parseScheme returns http or https for a scheme, in any case; some proxies name that of the WebSocket.
func parseScheme(s string) (string, error) {
	switch strings.ToLower(s) {
	case "https", "wss":
		return "https", nil
	case "http", "ws":
		return "http", nil
	case "":
		return "", nil
	default:
		return "", ErrInvalid
	}
}

// list reads lists from the right: the last element of the last field first.
type list struct {
	values []string
	tail   string // the part of a value that was not read
	last   func(s string) (h hop, rest string, err error)
}

// next returns the next element. It reports false if there is none.
func (l *list) next() (h hop, more bool, err error) {
	for {
		s := strings.TrimRight(l.tail, ", \t") // RFC 9110 §5.6.1.2: empty elements do not count
		if s != "" {
			h, l.tail, err = l.last(s)
			return h, err == nil, err
		}
		if len(l.values) == 0 {
			return hop{}, false, nil
		}
		end := len(l.values) - 1
		l.tail, l.values = l.values[end], l.values[:end]
	}
}

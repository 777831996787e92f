package proxyproto

import (
	"errors"
	"net/netip"
)

// Header is what a PROXY header says about the client.
type Header struct {
	// Source is the address of the client, with an IPv4 address in its short form. It is the zero value if the proxy does
	// not name one: for a connection of its own (LOCAL), a client that it does not know (UNKNOWN or UNSPEC), and a client
	// of a Unix socket.
	Source netip.AddrPort
	// TLS is set if the client reached the proxy over TLS.
	TLS bool
}

const (
	// MaxV1 is the maximum length of a header of version 1 in bytes, including CRLF. §2.1.
	MaxV1 = 107
	// MaxV2 is the maximum length of a header of version 2 in bytes. The protocol permits 64 KiB; addresses need 232
	// bytes, and a client certificate with all other fields about 3 KiB.
	MaxV2 = 4 << 10
)

// Errors of Parse.
var (
	// ErrMissing means that the bytes do not begin a PROXY header.
	ErrMissing = errors.New("proxyproto: no PROXY header")
	// ErrInvalid means that the bytes begin a PROXY header, which is malformed.
	ErrInvalid = errors.New("proxyproto: invalid PROXY header")
	// ErrTooLong means that the header exceeds MaxV1 or MaxV2.
	ErrTooLong = errors.New("proxyproto: PROXY header too long")
	// ErrChecksum means that the CRC-32C of the header does not match.
	ErrChecksum = errors.New("proxyproto: wrong checksum of the PROXY header")
)

// Signatures with which a header begins. §2.1, §2.2.
const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Parse parses the header at the start of b. n is its length; if n is 0 and err is nil, the header is incomplete. Parse
// does not wait for the rest of a header whose first bytes, version, command, family or length are wrong.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case common(b, signature2):
		return parse2(b)
	case common(b, signature1):
		return parse1(b)
	default:
		return Header{}, 0, ErrMissing
	}
}

// Begins reports whether b begins with a PROXY header, or the part of one that no HTTP request begins with. A request
// whose method is PROXY is not one, because its target begins with a slash.
func Begins(b []byte) bool {
	if len(b) > len(signature1) && common(b, signature1) {
		return b[len(signature1)] == 'T' || b[len(signature1)] == 'U'
	}
	return len(b) >= len(signature2) && common(b, signature2)
}

// common reports whether one of b and s begins with the other.
func common(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

package ws

import (
	"net/netip"
	"strings"
)

// isHost reports whether s is a host with an optional port. Both may be empty. RFC 9110 §7.2. It rejects a comma, which
// RFC 3986 §3.2.2 permits, because a proxy may have joined two Host fields with it.
func isHost(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		if strings.Trim(s[i+1:], "0123456789") != "" {
			return false
		}
		host = s[:i]
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return isRegName(host)
}

// isRegName reports whether s is a registered name or an IPv4 address. RFC 3986 §3.2.2.
func isRegName(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isAlphanumeric(c), strings.IndexByte("-._~!$&'()*+;=", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

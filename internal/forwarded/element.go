package forwarded

import (
	"net/netip"
	"strings"
)

// lastElement splits the last element off the value of a Forwarded field, which does not end in a comma or a space. RFC
// 7239 §4. It reads from the right, so that the element of the trusted peer is found even if a client has sent a
// quotation mark that it never closes. Unlike the RFC, it permits spaces around a semicolon, and colons and brackets in
// a value without quotes.
func lastElement(s string) (h hop, rest string, err error) {
	h.unnamed = true // without a "for"
	seen := make(map[string]bool, 4)
	for s != "" && s[len(s)-1] != ',' {
		if s[len(s)-1] == ';' { // the pair after it is empty, or was read
			s = strings.TrimRight(s[:len(s)-1], " \t")
			continue
		}
		name, value, before, ok := lastPair(s)
		if name = strings.ToLower(name); !ok || seen[name] {
			return hop{}, "", ErrInvalid
		}
		seen[name] = true
		switch name {
		case "for":
			if h.addr, h.unnamed, ok = parseNode(value); !ok {
				return hop{}, "", ErrInvalid
			}
		case "proto":
			h.proto = value
		}
		if s = strings.TrimRight(before, " \t"); s != "" && s[len(s)-1] != ',' && s[len(s)-1] != ';' {
			return hop{}, "", ErrInvalid
		}
	}
	return h, s, nil
}

// lastPair splits the last name and value off s.
func lastPair(s string) (name, value, before string, ok bool) {
	if s[len(s)-1] == '"' {
		value, before, ok = lastQuoted(s[:len(s)-1])
	} else {
		at := strings.LastIndexFunc(s, func(r rune) bool { return !isToken(r) && !strings.ContainsRune(":[]", r) }) + 1
		value, before, ok = s[at:], s[:at], at < len(s)
	}
	before, equals := strings.CutSuffix(before, "=")
	if !ok || !equals {
		return "", "", "", false
	}
	at := strings.LastIndexFunc(before, func(r rune) bool { return !isToken(r) }) + 1
	return before[at:], value, before[:at], at < len(before)
}

// lastQuoted splits a quoted string off s, from which the closing quotation mark was cut. Within the string, every
// quotation mark follows a backslash. RFC 9110 §5.6.4.
func lastQuoted(s string) (value, before string, ok bool) {
	open := len(s) - 1
	for open > 0 && (s[open] != '"' || s[open-1] == '\\') {
		open--
	}
	if open <= 0 { // at 0 it would have no name
		return "", "", false
	}
	value, ok = unquote(s[open+1:])
	return value, s[:open], ok
}

// unquote undoes the escapes of a quoted string without its quotation marks.
func unquote(s string) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return "", false
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b = append(b, s[i])
	}
	return string(b), true
}

// isToken reports whether a token may contain r. RFC 9110 §5.6.2.
func isToken(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// parseNode parses the value of a "for": an address with an optional port, the word unknown, or an identifier that
// hides the address. RFC 7239 §6.
func parseNode(s string) (addr netip.AddrPort, unnamed, ok bool) {
	name, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		name, port, hasPort = s[:i], s[i+1:], true
	}
	number := uint16(0)
	switch {
	case !hasPort:
	case isHidden(port):
	default:
		if number, ok = parsePort(port); !ok {
			return addr, false, false
		}
	}
	if strings.EqualFold(name, "unknown") || isHidden(name) {
		return addr, true, true
	}
	a, ok := parseHost(name)
	return netip.AddrPortFrom(a, number), false, ok
}

// isHidden reports whether s is an obfuscated identifier. RFC 7239 §6.3.
func isHidden(s string) bool {
	return len(s) > 1 && s[0] == '_' && !strings.ContainsFunc(s, func(r rune) bool {
		return !isToken(r) || strings.ContainsRune("!#$%&'*+^`|~", r)
	})
}

// parseHost parses an IPv4 address, or an IPv6 address in brackets.
func parseHost(s string) (netip.Addr, bool) {
	inner, bracket := strings.CutPrefix(s, "[")
	if bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
		if !bracket {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(inner)
	if err != nil || a.Is6() != bracket || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// parsePort parses a port number. RFC 7239 §6.
func parsePort(s string) (port uint16, ok bool) {
	if s == "" || len(s) > 5 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return uint16(n), n <= 0xffff
}

// lastAddress splits the last address off the value of an X-Forwarded-For field, which does not end in a comma or a
// space. It permits a port, brackets, the word unknown, and what nginx sends for a client of a Unix socket.
func lastAddress(s string) (h hop, rest string, err error) {
	at := strings.LastIndexByte(s, ',') + 1
	text := strings.Trim(s[at:], " \t")
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return hop{addr: netip.AddrPortFrom(a.Unmap(), 0)}, s[:at], nil
	}
	if text == "unix:" {
		return hop{unnamed: true}, s[:at], nil
	}
	var ok bool
	if h.addr, h.unnamed, ok = parseNode(text); !ok {
		return hop{}, "", ErrInvalid
	}
	return h, s[:at], nil
}

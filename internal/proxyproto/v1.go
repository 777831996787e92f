package proxyproto

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// parse1 parses a header of version 1, which is a line of text. b may be incomplete. §2.1.
func parse1(b []byte) (h Header, n int, err error) {
	line, _, ended := bytes.Cut(b[:min(len(b), MaxV1)], []byte{'\n'})
	text, after, returned := bytes.Cut(line, []byte{'\r'})
	switch {
	case !ended && len(b) >= MaxV1:
		return Header{}, 0, fmt.Errorf("%w: no end of line in %d bytes", ErrTooLong, MaxV1)
	case len(after) > 0:
		return Header{}, 0, fmt.Errorf("%w: carriage return within the line", ErrInvalid)
	case !ended:
		return Header{}, 0, nil
	case !returned:
		return Header{}, 0, fmt.Errorf("%w: line feed without a carriage return", ErrInvalid)
	}
	h, err = parseLine(string(text[len(signature1):]))
	if err != nil {
		return Header{}, 0, err
	}
	return h, len(line) + 1, nil
}

// parseLine parses the line after "PROXY ". Fields are separated by exactly one space. §2.1.
func parseLine(line string) (Header, error) {
	fields := strings.Split(line, " ")
	if fields[0] == "UNKNOWN" { // the receiver must ignore the rest of the line
		return Header{}, nil
	}
	if fields[0] != "TCP4" && fields[0] != "TCP6" {
		return Header{}, fmt.Errorf("%w: want TCP4, TCP6 or UNKNOWN", ErrInvalid)
	}
	if len(fields) != 5 {
		return Header{}, fmt.Errorf("%w: want two addresses and two ports", ErrInvalid)
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(fields[1+i])
		if err != nil || addr.Is4() != (fields[0] == "TCP4") || addr.Zone() != "" {
			return Header{}, fmt.Errorf("%w: malformed %s address", ErrInvalid, fields[0])
		}
		port, ok := parsePort(fields[3+i])
		if !ok {
			return Header{}, fmt.Errorf("%w: malformed port", ErrInvalid)
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), port)
	}
	return Header{Source: ends[0]}, nil
}

// parsePort parses a decimal number from 0 to 65535 without leading zeros. §2.1.
func parsePort(s string) (port uint16, ok bool) {
	if s == "" || len(s) > 5 || s[0] == '0' && len(s) > 1 {
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

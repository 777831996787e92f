package forwarded

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzClient checks that nothing that a client sends changes what its proxy appends: neither in the same field, nor in
// one of its own.
func FuzzClient(f *testing.F) {
	f.Add(`for="x`, "192.0.2.9", "https")
	f.Add(`for="x\`, "1, 2", "")
	f.Add("for=10.0.0.1;proto=http", "10.0.0.1", "http")
	f.Fuzz(func(t *testing.T, forged, forgedFor, proto string) {
		const client = "192.0.2.1:80"
		trust, want := trust10(t), netip.MustParseAddrPort(client)
		for _, element := range []string{
			`for="192.0.2.1:80";proto=https`, `proto=https;for=192.0.2.1:80`, `for="192.0.2.1:80";host="a\"b";proto="https"`,
		} {
			for _, fields := range []Fields{
				{Forwarded: []string{forged + ", " + element}},
				{Forwarded: []string{forged, element}},
				{Forwarded: []string{forged + "," + element}, For: []string{forgedFor + ", " + client}},
			} {
				fields.Proto = []string{proto, "https"}
				if got := trust.Client(peer10, &fields); got.Addr != want || got.Scheme != "https" || got.Err != nil {
					t.Fatalf("%q: got %+v, want %s", fields, got, want)
				}
			}
		}
		got := trust.Client(peer10, &Fields{For: []string{forgedFor, client}})
		if got.Addr != want || got.Err != nil {
			t.Fatalf("%q: got %+v, want %s", forgedFor, got, want)
		}
		got = trust.Client(peer10, &Fields{Forwarded: []string{forged}, For: []string{forgedFor}, Proto: []string{proto}})
		if !got.Addr.IsValid() || got.Addr.Addr().Is4In6() || got.Addr.Addr().Zone() != "" {
			t.Fatalf("%q, %q: got %+v", forged, forgedFor, got)
		}
	})
}

// FuzzForwarded compares lists that are valid from the left with how they are read from the right.
func FuzzForwarded(f *testing.F) {
	f.Add(`for=192.0.2.1;proto=https, For="[2001:db8::1]:80";by=_x;host="a\"b,c;d=\\", ;;, for=unknown`)
	f.Add(`a="\\";b="\"", for="_x:80"`)
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := fromTheLeft(s)
		if !ok {
			return
		}
		l := list{values: []string{s}, last: lastElement}
		for len(want) > 0 {
			last := want[len(want)-1]
			want = want[:len(want)-1]
			h, more, err := l.next()
			addr, unnamed, valid := netip.AddrPort{}, true, true
			if node, named := last["for"]; named {
				addr, unnamed, valid = parseNode(node)
			}
			if !valid {
				if err == nil {
					t.Fatalf("%q: got %+v, want an error for %q", s, h, last)
				}
				return
			}
			if err != nil || !more || h != (hop{addr: addr, unnamed: unnamed, proto: last["proto"]}) {
				t.Fatalf("%q: got %+v, %v, %v, want %q", s, h, more, err, last)
			}
		}
		if h, more, err := l.next(); more || err != nil {
			t.Fatalf("%q: got %+v, %v, want no further element", s, h, err)
		}
	})
}

// fromTheLeft parses a list as RFC 7239 §4 has it, from the left. It reports false if the list is malformed.
func fromTheLeft(s string) (elements []map[string]string, ok bool) {
	element, begun := map[string]string{}, false
	for {
		s = strings.TrimLeft(s, " \t")
		if name := prefix(s, isToken); name != "" {
			value, rest, ok := valueFromTheLeft(s[len(name):])
			if name = strings.ToLower(name); !ok {
				return nil, false
			}
			if _, twice := element[name]; twice {
				return nil, false
			}
			element[name], begun, s = value, true, strings.TrimLeft(rest, " \t")
		}
		switch {
		case s == "", s[0] == ',':
			if begun {
				elements = append(elements, element)
			}
			if s == "" {
				return elements, true
			}
			element, begun = map[string]string{}, false
		case s[0] == ';':
			begun = true
		default:
			return nil, false
		}
		s = s[1:]
	}
}

// valueFromTheLeft parses an equals sign and a value.
func valueFromTheLeft(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "=")
	if !ok {
		return "", "", false
	}
	if !strings.HasPrefix(s, `"`) {
		value = prefix(s, isToken)
		return value, s[len(value):], value != ""
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		case '"':
			return value, s[i+1:], true
		}
		value += s[i : i+1]
	}
	return "", "", false
}

// prefix returns the bytes at the start of s that f accepts.
func prefix(s string, f func(rune) bool) string {
	i := 0
	for i < len(s) && f(rune(s[i])) {
		i++
	}
	return s[:i]
}

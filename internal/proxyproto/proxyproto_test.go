package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	peer "github.com/pires/go-proxyproto"
)

var (
	source4 = netip.MustParseAddrPort("203.0.113.7:56324")
	source6 = netip.MustParseAddrPort("[2001:db8::7]:56324")
)

// v2 returns a header of version 2 with the given version and command, family and transport, and what follows.
func v2(command, family byte, block ...byte) []byte {
	b := append([]byte(signature2), command, family, byte(len(block)>>8), byte(len(block)))
	return append(b, block...)
}

// addrs returns the address block of a connection from source4 or source6.
func addrs(from netip.AddrPort) []byte {
	b := append(from.Addr().AsSlice(), from.Addr().AsSlice()...)
	return append(binary.BigEndian.AppendUint16(b, from.Port()), 0x1f, 0x90)
}

// tlv returns one field.
func tlv(kind byte, value ...byte) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

// cat joins byte slices.
func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// sealed sets the value of the checksum field that ends b.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[len(b)-4:], checksum(b, len(b)-4))
	return b
}

var headers = []struct {
	name   string
	header []byte
	want   Header
	err    error
}{
	{"v1 IPv4", []byte("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n"), Header{Source: source4}, nil},
	{"v1 IPv6", []byte("PROXY TCP6 2001:db8::7 ::1 56324 443\r\n"), Header{Source: source6}, nil},
	{
		"v1 IPv6 in capital letters", []byte("PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 56324 443\r\n"),
		Header{Source: source6},
		nil,
	},
	{
		"v1 ports may be 0", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n"),
		Header{Source: netip.MustParseAddrPort("1.2.3.4:0")},
		nil,
	},
	{
		"v1 highest port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 65535 9\r\n"),
		Header{Source: netip.MustParseAddrPort("1.2.3.4:65535")},
		nil,
	},
	{"v1 UNKNOWN names nobody", []byte("PROXY UNKNOWN\r\n"), Header{}, nil},
	{"v1 the rest after UNKNOWN is ignored", []byte("PROXY UNKNOWN ffff::1 x 1 2 3 4 5\r\n"), Header{}, nil},
	{
		"v1 longest header",
		[]byte("PROXY UNKNOWN " + strings.Repeat("f", MaxV1-16) + "\r\n"),
		Header{},
		nil,
	},
	{"v1 one byte too long", []byte("PROXY UNKNOWN " + strings.Repeat("f", MaxV1-15) + "\r\n"), Header{}, ErrTooLong},
	{"v1 line feed alone", []byte("PROXY UNKNOWN\n"), Header{}, ErrInvalid},
	{"v1 carriage return alone", []byte("PROXY UNKNOWN \r \r\n"), Header{}, ErrInvalid},
	{"v1 two carriage returns", []byte("PROXY UNKNOWN\r\r\n"), Header{}, ErrInvalid},
	{"v1 empty", []byte("PROXY \r\n"), Header{}, ErrInvalid},
	{"v1 only line feed", []byte("PROXY \n"), Header{}, ErrInvalid},
	{"v1 UDP4 does not exist", []byte("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 case matters", []byte("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 UNKNOWNX", []byte("PROXY UNKNOWNX\r\n"), Header{}, ErrInvalid},
	{"v1 two spaces", []byte("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 space at the end", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"), Header{}, ErrInvalid},
	{"v1 port missing", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), Header{}, ErrInvalid},
	{"v1 port empty", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"), Header{}, ErrInvalid},
	{"v1 IPv6 as TCP4", []byte("PROXY TCP4 ::1 ::1 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 IPv4 as TCP6", []byte("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 bad destination", []byte("PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 leading zero in an address", []byte("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 zone", []byte("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), Header{}, ErrInvalid},
	{"v1 leading zero in a port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"), Header{}, ErrInvalid},
	{"v1 port above 65535", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), Header{}, ErrInvalid},
	{"v1 negative port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"), Header{}, ErrInvalid},
	{"v1 long port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 4294967297 2\r\n"), Header{}, ErrInvalid},
	{"v1 port of more than 64 bits", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 18446744073709551617 2\r\n"), Header{}, ErrInvalid},

	{"v2 TCP over IPv4", v2(proxy2, 0x11, addrs(source4)...), Header{Source: source4}, nil},
	{"v2 TCP over IPv6", v2(proxy2, 0x21, addrs(source6)...), Header{Source: source6}, nil},
	{"v2 UDP over IPv4", v2(proxy2, 0x12, addrs(source4)...), Header{Source: source4}, nil},
	{"v2 UDP over IPv6", v2(proxy2, 0x22, addrs(source6)...), Header{Source: source6}, nil},
	{"v2 Unix names no address", v2(proxy2, 0x31, make([]byte, lengthUnix)...), Header{}, nil},
	{"v2 Unix too short", v2(proxy2, 0x31, make([]byte, lengthUnix-1)...), Header{}, ErrInvalid},
	{
		"v2 IPv4 within IPv6",
		v2(proxy2, 0x21, addrs(netip.AddrPortFrom(netip.AddrFrom16(source4.Addr().As16()), source4.Port()))...),
		Header{Source: source4},
		nil,
	},
	{"v2 LOCAL names nobody", v2(local2, 0), Header{}, nil},
	{"v2 LOCAL with addresses", v2(local2, 0x11, addrs(source4)...), Header{}, nil},
	{"v2 the family of LOCAL is ignored", v2(local2, 0xff, 1, 2, 3), Header{}, nil},
	{"v2 UNSPEC names nobody", v2(proxy2, 0), Header{}, nil},
	{"v2 what follows UNSPEC is ignored", v2(proxy2, 0, 1, 2, 3), Header{}, nil},
	{"v2 IPv4 over an unknown transport", v2(proxy2, 0x10, addrs(source4)...), Header{}, nil},
	{"v2 unknown family over TCP", v2(proxy2, 0x01, addrs(source4)...), Header{}, nil},
	{"v2 reserved family", v2(proxy2, 0x41, addrs(source4)...), Header{}, ErrInvalid},
	{"v2 reserved transport", v2(proxy2, 0x13, addrs(source4)...), Header{}, ErrInvalid},
	{"v2 version 1", v2(0x11, 0x11, addrs(source4)...), Header{}, ErrInvalid},
	{"v2 version 3", v2(0x31, 0x11, addrs(source4)...), Header{}, ErrInvalid},
	{"v2 reserved command", v2(0x22, 0x11, addrs(source4)...), Header{}, ErrInvalid},
	{"v2 IPv4 too short", v2(proxy2, 0x11, addrs(source4)[:11]...), Header{}, ErrInvalid},
	{"v2 IPv6 too short", v2(proxy2, 0x21, addrs(source6)[:35]...), Header{}, ErrInvalid},
	{
		"v2 longest header",
		v2(proxy2, 0x11, cat(addrs(source4), tlv(0x04, make([]byte, MaxV2-fixed2-lengthIPv4-3)...))...),
		Header{Source: source4},
		nil,
	},
	{
		"v2 one byte too long", v2(proxy2, 0x11, cat(addrs(source4), tlv(0x04, make([]byte, MaxV2-fixed2-14)...))...),
		Header{},
		ErrTooLong,
	},
	{"v2 as long as can be", v2(local2, 0, make([]byte, 0xffff)...), Header{}, ErrTooLong},

	{
		"v2 unknown fields", v2(proxy2, 0x11, cat(addrs(source4), tlv(0xe0, 1), tlv(0xff), tlv(4, 0, 0))...),
		Header{Source: source4},
		nil,
	},
	{"v2 empty field at the end", v2(proxy2, 0x11, cat(addrs(source4), tlv(4))...), Header{Source: source4}, nil},
	{"v2 field without a length", v2(proxy2, 0x11, cat(addrs(source4), []byte{4, 0})...), Header{}, ErrInvalid},
	{"v2 field beyond the header", v2(proxy2, 0x11, cat(addrs(source4), []byte{4, 0, 2, 1})...), Header{}, ErrInvalid},
	{"v2 field after Unix addresses", v2(proxy2, 0x31, cat(make([]byte, lengthUnix), []byte{4})...), Header{}, ErrInvalid},
	{
		"v2 checksum", sealed(v2(proxy2, 0x11, cat(addrs(source4), tlv(typeChecksum, 0, 0, 0, 0))...)),
		Header{Source: source4},
		nil,
	},
	{
		"v2 wrong checksum", v2(proxy2, 0x11, cat(addrs(source4), tlv(typeChecksum, 0, 0, 0, 0))...),
		Header{},
		ErrChecksum,
	},
	{"v2 short checksum", v2(proxy2, 0x11, cat(addrs(source4), tlv(typeChecksum, 0, 0, 0))...), Header{}, ErrInvalid},
	{
		"v2 two checksums", v2(proxy2, 0x11, cat(addrs(source4), twoChecksums())...),
		Header{},
		ErrInvalid,
	},
	{
		"v2 TLS", v2(proxy2, 0x11, cat(addrs(source4), tlv(typeTLS, 1, 0, 0, 0, 0))...),
		Header{Source: source4, TLS: true},
		nil,
	},
	{
		"v2 TLS with its version",
		v2(proxy2, 0x21, cat(addrs(source6), tlv(typeTLS, cat([]byte{1, 0, 0, 0, 1}, tlv(0x21, 'x'))...))...),
		Header{Source: source6, TLS: true},
		nil,
	},
	{
		"v2 TLS field without TLS", v2(proxy2, 0x11, cat(addrs(source4), tlv(typeTLS, 6, 0, 0, 0, 0))...),
		Header{Source: source4},
		nil,
	},
	{"v2 short TLS field", v2(proxy2, 0x11, cat(addrs(source4), tlv(typeTLS, 1, 0, 0, 0))...), Header{}, ErrInvalid},
	{
		"v2 TLS with a field cut off",
		v2(proxy2, 0x11, cat(addrs(source4), tlv(typeTLS, 1, 0, 0, 0, 0, 0x21, 0, 1))...),
		Header{},
		ErrInvalid,
	},

	{"HTTP", []byte("GET / HTTP/1.1\r\n"), Header{}, ErrMissing},
	{"a method that begins like PROXY", []byte("POST"), Header{}, ErrMissing},
	{"an empty line, then HTTP", []byte("\r\nGET"), Header{}, ErrMissing},
	{"TLS", []byte{0x16, 3, 1}, Header{}, ErrMissing},
}

// twoChecksums returns two checksum fields, the first of which is right if the second counts as it is sent.
func twoChecksums() []byte {
	b := v2(proxy2, 0x11, cat(addrs(source4), tlv(typeChecksum, 0, 0, 0, 0), tlv(typeChecksum, 0, 0, 0, 0))...)
	binary.BigEndian.PutUint32(b[len(b)-11:], checksum(b, len(b)-11))
	return b[fixed2+lengthIPv4:]
}

// TestParse parses headers whole, followed by the client's bytes, and one byte at a time.
func TestParse(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			length := len(tt.header)
			if tt.err != nil {
				length = 0
			}
			for _, after := range []string{"", "GET / HTTP/1.1\r\n\r\n"} {
				h, n, err := Parse(append(bytes.Clone(tt.header), after...))
				if h != tt.want || n != length || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Errorf("got %+v, %d, %v, want %+v, %d, %v", h, n, err, tt.want, length, tt.err)
				}
			}
			for i := range tt.header {
				h, n, err := Parse(tt.header[:i])
				if err != nil && tt.err != nil && errors.Is(err, tt.err) {
					return // an error may come early
				}
				if n != 0 || err != nil || h != (Header{}) {
					t.Fatalf("first %d bytes: got %+v, %d, %v, want an incomplete header", i, h, n, err)
				}
			}
		})
	}
}

// TestParseRejectsEarly checks that a header that cannot become valid is not waited for.
func TestParseRejectsEarly(t *testing.T) {
	for _, tt := range []struct {
		name, begin string
		want        error
	}{
		{"first byte", "G", ErrMissing},
		{"second byte", "PO", ErrMissing},
		{"sixth byte", "PROXY/", ErrMissing},
		{"fifth byte of v2", "\r\n\r\nG", ErrMissing},
		{"version", signature2 + "\x11", ErrInvalid},
		{"family", signature2 + "\x21\x41", ErrInvalid},
		{"length", signature2 + "\x21\x11\x10\x00", ErrTooLong},
		{"line", "PROXY TCP4 " + strings.Repeat("1", MaxV1-11), ErrTooLong},
	} {
		if _, n, err := Parse([]byte(tt.begin)); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %d, %v, want %v", tt.name, n, err, tt.want)
		}
		if _, n, err := Parse([]byte(tt.begin[:len(tt.begin)-1])); n != 0 || err != nil {
			t.Errorf("%s: one byte before it: got %d, %v, want an incomplete header", tt.name, n, err)
		}
	}
}

// TestBegins checks which bytes of an HTTP client are taken for a PROXY header.
func TestBegins(t *testing.T) {
	for _, tt := range []struct {
		bytes string
		want  bool
	}{
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", true},
		{"PROXY T", true},
		{"PROXY U", true},
		{"PROXY ", false},
		{"PROXY / HTTP/1.1", false},
		{"PROXYX T", false},
		{signature2, true},
		{signature2[:11], false},
		{"\r\n\r\nGET / HTTP/1.1", false},
		{"GET / HTTP/1.1", false},
		{"", false},
	} {
		if got := Begins([]byte(tt.bytes)); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.bytes, got, tt.want)
		}
	}
}

// FuzzParse checks that the result does not depend on how many bytes follow, that errors and lengths are consistent,
// and that what is accepted means the same to go-proxyproto.
func FuzzParse(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.header)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if n < 0 || n > len(b) || n > MaxV2 || err != nil && (n != 0 || h != (Header{})) {
			t.Fatalf("got %+v, %d, %v for %d bytes", h, n, err, len(b))
		}
		if n == 0 {
			return
		}
		if again, m, err := Parse(b[:n]); again != h || m != n || err != nil {
			t.Fatalf("without the bytes after it: got %+v, %d, %v, want %+v, %d", again, m, err, h, n)
		}
		for i := range n {
			if _, m, err := Parse(b[:i]); m != 0 || err != nil {
				t.Fatalf("first %d of %d bytes: got %d, %v, want an incomplete header", i, n, m, err)
			}
		}
		compare(t, b[:n], h)
	})
}

// compare parses a header that was accepted with go-proxyproto.
func compare(t *testing.T, b []byte, h Header) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	p, err := peer.Read(r)
	if err != nil {
		if h.Source.IsValid() {
			t.Fatalf("%q: go-proxyproto: %v, want %v", b, err, h.Source)
		}
		return // it is stricter about what has to be ignored
	}
	if r.Buffered() != 0 {
		t.Fatalf("%q: go-proxyproto leaves %d bytes", b, r.Buffered())
	}
	source := netip.AddrPort{}
	switch a := p.SourceAddr.(type) {
	case *net.TCPAddr:
		source = a.AddrPort()
	case *net.UDPAddr:
		source = a.AddrPort()
	}
	source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	if p.Command.IsLocal() || p.TransportProtocol.IsUnspec() {
		source = netip.AddrPort{}
	}
	if source != h.Source {
		t.Fatalf("%q: got %v, go-proxyproto has %v", b, h.Source, source)
	}
}

// FuzzParseFields mends the checksum of mutated fields, which a mutation alone cannot.
func FuzzParseFields(f *testing.F) {
	f.Add(tlv(0x04, 1, 2), byte(1))
	f.Add(tlv(typeTLS, 1, 0, 0, 0, 0), byte(2))
	f.Fuzz(func(t *testing.T, fields []byte, damage byte) {
		if len(fields) > 2000 || !separate(fields) {
			return
		}
		b := v2(proxy2, 0x11, cat(addrs(source4), fields, tlv(typeChecksum, 0, 0, 0, 0))...)
		h, n, err := Parse(sealed(b))
		if err != nil {
			return // a field is malformed
		}
		if n != len(b) || h.Source != source4 {
			t.Fatalf("got %+v, %d, want %v, %d", h, n, source4, len(b))
		}
		b[int(damage)%lengthIPv4+fixed2] ^= 1
		if _, _, err := Parse(b); !errors.Is(err, ErrChecksum) {
			t.Fatalf("one bit of the address is wrong: got %v, want %v", err, ErrChecksum)
		}
	})
}

// separate reports whether b consists of whole fields.
func separate(b []byte) (ok bool) {
	for at := 0; at < len(b); {
		if _, at, ok = field(b, at); !ok {
			return false
		}
	}
	return true
}

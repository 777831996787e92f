package forwarded

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// trust10 trusts 10.0.0.0/8 and fd00::/8.
func trust10(t testing.TB) *Trust {
	t.Helper()
	trust, err := ParseTrust([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	return &trust
}

// peer10 is a trusted peer.
var peer10 = netip.MustParseAddrPort("10.0.0.1:4711")

// TestClient checks who the client is. An empty want is the peer.
func TestClient(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields Fields
		want   string
		scheme string
		err    error
	}{
		{"no fields", Fields{}, "", "", nil},
		{"one address", Fields{For: []string{"192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"IPv4 with a port", Fields{For: []string{"192.0.2.1:80"}}, "192.0.2.1:80", "", nil},
		{"IPv6", Fields{For: []string{"2001:db8::1"}}, "[2001:db8::1]:0", "", nil},
		{"IPv6 in brackets", Fields{For: []string{"[2001:db8::1]"}}, "[2001:db8::1]:0", "", nil},
		{"IPv6 with a port", Fields{For: []string{"[2001:db8::1]:80"}}, "[2001:db8::1]:80", "", nil},
		{"IPv4 within IPv6", Fields{For: []string{"::ffff:192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"what is further left is forged", Fields{For: []string{"198.51.100.1, 192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"garbage further left", Fields{For: []string{`",;=x, 192.0.2.1`}}, "192.0.2.1:0", "", nil},
		{"trusted addresses are skipped", Fields{For: []string{"192.0.2.1, 10.1.1.1,fd00::1"}}, "192.0.2.1:0", "", nil},
		{"a forged trusted address ends nothing", Fields{For: []string{"10.6.6.6, 192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"all are trusted", Fields{For: []string{"10.1.1.1, 10.2.2.2"}}, "10.1.1.1:0", "", nil},
		{"several fields are one list", Fields{For: []string{"192.0.2.1", "10.1.1.1"}}, "192.0.2.1:0", "", nil},
		{"the last field is the last", Fields{For: []string{"198.51.100.1", "192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"empty elements", Fields{For: []string{", ,192.0.2.1, ,\t", "", " , "}}, "192.0.2.1:0", "", nil},
		{"only empty elements", Fields{For: []string{", ,"}}, "", "", nil},
		{"unknown", Fields{For: []string{"192.0.2.1, unknown"}}, "", "", nil},
		{"unknown after a trusted proxy", Fields{For: []string{"Unknown, 10.1.1.1"}}, "10.1.1.1:0", "", nil},
		{"a client of a Unix socket of nginx", Fields{For: []string{"6.6.6.6, unix:"}}, "", "", nil},
		{"a name", Fields{For: []string{"192.0.2.1, client.example"}}, "", "", ErrInvalid},
		{"a zone", Fields{For: []string{"fe80::1%eth0"}}, "", "", ErrInvalid},
		{"a port above 65535", Fields{For: []string{"192.0.2.1:65536"}}, "", "", ErrInvalid},
		{"the highest port", Fields{For: []string{"192.0.2.1:65535"}}, "192.0.2.1:65535", "", nil},
		{"a port of one digit", Fields{For: []string{"192.0.2.1:9"}}, "192.0.2.1:9", "", nil},
		{"an empty port", Fields{For: []string{"192.0.2.1:"}}, "", "", ErrInvalid},
		{"a port that is no number", Fields{For: []string{"192.0.2.1:8o"}}, "", "", ErrInvalid},
		{"a port of more than 64 bits", Fields{For: []string{"192.0.2.1:18446744073709551617"}}, "", "", ErrInvalid},
		{"quotation marks", Fields{For: []string{`"192.0.2.1"`}}, "", "", ErrInvalid},
		{"garbage after a trusted proxy", Fields{For: []string{"x, 10.1.1.1"}}, "", "", ErrInvalid},
		{"32 proxies", Fields{For: []string{"192.0.2.1" + strings.Repeat(", 10.1.1.1", 31)}}, "192.0.2.1:0", "", nil},
		{"33 proxies", Fields{For: []string{"192.0.2.1" + strings.Repeat(", 10.1.1.1", 32)}}, "", "", ErrInvalid},

		{"Forwarded", Fields{Forwarded: []string{"for=192.0.2.1;proto=https"}}, "192.0.2.1:0", "https", nil},
		{"Forwarded in any case", Fields{Forwarded: []string{"FOR=192.0.2.1;Proto=HTTPS"}}, "192.0.2.1:0", "https", nil},
		{"quoted address with a port", Fields{Forwarded: []string{`for="192.0.2.1:80"`}}, "192.0.2.1:80", "", nil},
		{"quoted IPv6 with a port", Fields{Forwarded: []string{`for="[2001:db8::1]:80"`}}, "[2001:db8::1]:80", "", nil},
		{"IPv6 without quotes", Fields{Forwarded: []string{`for=[2001:db8::1]:80`}}, "[2001:db8::1]:80", "", nil},
		{"IPv6 without brackets", Fields{Forwarded: []string{`for="2001:db8::1"`}}, "", "", ErrInvalid},
		{"IPv4 in brackets", Fields{Forwarded: []string{`for="[192.0.2.1]"`}}, "", "", ErrInvalid},
		{"hidden port", Fields{Forwarded: []string{`for="192.0.2.1:_x"`}}, "192.0.2.1:0", "", nil},
		{"hidden address", Fields{Forwarded: []string{"for=192.0.2.1, for=_hidden;proto=https"}}, "", "https", nil},
		{"hidden address with a port", Fields{Forwarded: []string{`for="_hidden:80"`}}, "", "", nil},
		{"unknown in Forwarded", Fields{Forwarded: []string{"for=unknown"}}, "", "", nil},
		{"hidden by nothing", Fields{Forwarded: []string{"for=_"}}, "", "", ErrInvalid},
		{"hidden by more than RFC 7239 §6.3 permits", Fields{Forwarded: []string{`for="_a$"`}}, "", "", ErrInvalid},
		{"hidden by two words", Fields{Forwarded: []string{`for="_a b"`}}, "", "", ErrInvalid},
		{"without for", Fields{Forwarded: []string{"for=192.0.2.1, proto=http"}}, "", "http", nil},
		{"elements and fields", Fields{Forwarded: []string{
			"for=198.51.100.1, for=192.0.2.1;proto=https", `for=10.1.1.1;by="_gw";proto=http`,
		}}, "192.0.2.1:0", "https", nil},
		{
			"comma and semicolon in a string",
			Fields{Forwarded: []string{`for=192.0.2.1;host="a,b;for=1.1.1.1"`}},
			"192.0.2.1:0", "", nil,
		},
		{"escapes", Fields{Forwarded: []string{`for="192\.0.2.\1";host="a\"b\\"`}}, "192.0.2.1:0", "", nil},
		{"an escape at the start", Fields{Forwarded: []string{`for="\192.0.2.1"`}}, "192.0.2.1:0", "", nil},
		{
			"every kind of character in a token", // RFC 9110 §5.6.2
			Fields{Forwarded: []string{"for=192.0.2.1;AZaz09!#$%&'*+-.^_`|~=AZaz09!#$%&'*+-.^_`|~"}},
			"192.0.2.1:0", "", nil,
		},
		{"a letter beyond ASCII in a token", Fields{Forwarded: []string{"for=192.0.2.1;é=x"}}, "", "", ErrInvalid},
		{
			"spaces around a semicolon",
			Fields{Forwarded: []string{"for=192.0.2.1 ; proto=https"}},
			"192.0.2.1:0", "https", nil,
		},
		{"empty pairs", Fields{Forwarded: []string{";;for=192.0.2.1;;proto=http;"}}, "192.0.2.1:0", "http", nil},
		{
			"a quotation mark that a client left open",
			Fields{Forwarded: []string{`for="x, for="[2001:db8::1]"`}},
			"[2001:db8::1]:0", "", nil,
		},
		{"a backslash that a client left", Fields{Forwarded: []string{`for="x\, for="192.0.2.1"`}}, "192.0.2.1:0", "", nil},
		{"for twice", Fields{Forwarded: []string{"for=192.0.2.1;for=192.0.2.2"}}, "", "", ErrInvalid},
		{"a string that is not closed", Fields{Forwarded: []string{`for=192.0.2.1;host="x`}}, "", "", ErrInvalid},
		{"a string that is not opened", Fields{Forwarded: []string{`for=192.0.2.1;host=x"`}}, "", "", ErrInvalid},
		{"a string that ends in a backslash", Fields{Forwarded: []string{`for=192.0.2.1;host="x\"`}}, "", "", ErrInvalid},
		{"a string within a string", Fields{Forwarded: []string{`for=192.0.2.1;host="x\\"y"`}}, "", "", ErrInvalid},
		{"a value without a name", Fields{Forwarded: []string{"=192.0.2.1"}}, "", "", ErrInvalid},
		{"a string without a name", Fields{Forwarded: []string{`""`}}, "", "", ErrInvalid},
		{"a name without a value", Fields{Forwarded: []string{"for="}}, "", "", ErrInvalid},
		{"another name without a value", Fields{Forwarded: []string{"for=192.0.2.1;host="}}, "", "", ErrInvalid},
		{"an address alone", Fields{Forwarded: []string{"192.0.2.1"}}, "", "", ErrInvalid},
		{"spaces around the equals sign", Fields{Forwarded: []string{"for =192.0.2.1"}}, "", "", ErrInvalid},
		{"two values", Fields{Forwarded: []string{"for=192.0.2.1 x=y"}}, "", "", ErrInvalid},

		{"both agree", Fields{Forwarded: []string{"for=192.0.2.1"}, For: []string{"192.0.2.1:80"}}, "192.0.2.1:80", "", nil},
		{"both disagree", Fields{Forwarded: []string{"for=1.1.1.1"}, For: []string{"192.0.2.1"}}, "", "", ErrConflict},
		{
			"one hides what the other tells",
			Fields{Forwarded: []string{"for=_x"}, For: []string{"192.0.2.1"}},
			"", "", ErrConflict,
		},
		{"one is malformed", Fields{Forwarded: []string{"x"}, For: []string{"192.0.2.1"}}, "", "", ErrInvalid},
		{"the other is malformed", Fields{Forwarded: []string{"for=192.0.2.1"}, For: []string{"x"}}, "", "", ErrInvalid},
		{"one is empty", Fields{Forwarded: []string{""}, For: []string{"192.0.2.1"}}, "192.0.2.1:0", "", nil},
		{"the other is empty", Fields{Forwarded: []string{"for=192.0.2.1"}, For: []string{""}}, "192.0.2.1:0", "", nil},

		{"scheme", Fields{For: []string{"192.0.2.1"}, Proto: []string{"https"}}, "192.0.2.1:0", "https", nil},
		{"scheme of the WebSocket", Fields{For: []string{"192.0.2.1"}, Proto: []string{"WSS"}}, "192.0.2.1:0", "https", nil},
		{"ws", Fields{Proto: []string{"ws"}}, "", "http", nil},
		{"scheme alone", Fields{Proto: []string{"http"}}, "", "http", nil},
		{"the peer writes the last scheme", Fields{Proto: []string{"http", "http, https "}}, "", "https", nil},
		{"no scheme", Fields{Proto: []string{""}}, "", "", nil},
		{"unknown scheme", Fields{For: []string{"192.0.2.1"}, Proto: []string{"ftp"}}, "192.0.2.1:0", "", ErrInvalid},
		{"unknown proto", Fields{Forwarded: []string{"for=192.0.2.1;proto=ftp"}}, "192.0.2.1:0", "", ErrInvalid},
		{
			"schemes agree",
			Fields{Forwarded: []string{"for=192.0.2.1;proto=https"}, Proto: []string{"wss"}},
			"192.0.2.1:0", "https", nil,
		},
		{
			"schemes disagree",
			Fields{Forwarded: []string{"for=192.0.2.1;proto=http"}, Proto: []string{"https"}},
			"192.0.2.1:0", "", ErrInvalid,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := peer10
			if tt.want != "" {
				want = netip.MustParseAddrPort(tt.want)
			}
			got := trust10(t).Client(peer10, &tt.fields)
			if got.Addr != want || got.Scheme != tt.scheme || !errors.Is(got.Err, tt.err) {
				t.Errorf("got %+v, want %s, %q, %v", got, want, tt.scheme, tt.err)
			}
		})
	}
}

// TestClientOfUnixPeer checks that a peer without an address is the client itself if nothing names another one.
func TestClientOfUnixPeer(t *testing.T) {
	trust, err := ParseTrust([]string{"unix"})
	if err != nil {
		t.Fatal(err)
	}
	if got := trust.Client(netip.AddrPort{}, &Fields{}); got != (Client{}) {
		t.Errorf("no fields: got %+v, want no address", got)
	}
	got := trust.Client(netip.AddrPort{}, &Fields{For: []string{"192.0.2.1"}})
	if got.Addr.String() != "192.0.2.1:0" || got.Err != nil {
		t.Errorf("got %+v, want 192.0.2.1", got)
	}
}

// TestParseTrust checks which entries are valid, which peers they trust, and what errors suggest.
func TestParseTrust(t *testing.T) {
	trust, err := ParseTrust([]string{"10.0.0.0/8", " 192.0.2.7 ", "fd00::/8", "unix"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false, "fd12::1": true, "fe80::1": false,
		"::ffff:10.0.0.1": true, "fd12::1%eth0": true, "::1": false,
	} {
		if got := trust.Trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	for _, entry := range []string{"10.0.0.0/8", "unix ", "::1"} {
		if err := CheckEntry(entry); err != nil {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if !trust.Trusts(netip.Addr{}) || trust.Empty() {
		t.Error("peers of Unix sockets are not trusted")
	}
	nobody, err := ParseTrust(nil)
	if err != nil || !nobody.Empty() || nobody.Trusts(netip.Addr{}) || nobody.Trusts(netip.MustParseAddr("10.0.0.1")) {
		t.Errorf("an empty list: got %+v, %v, want that nobody is trusted", nobody, err)
	}
	if unix, err := ParseTrust([]string{"unix"}); err != nil || unix.Empty() || unix.Trusts(netip.MustParseAddr("::1")) {
		t.Errorf("unix: got %+v, %v", unix, err)
	}
	for entry, want := range map[string]string{
		"":                  "want a network like 10.0.0.0/8, an address, or unix",
		"proxy.example.com": "want a network like 10.0.0.0/8, an address, or unix",
		"10.0.0.0/33":       "want a network like 10.0.0.0/8, an address, or unix",
		"fe80::1%eth0":      "want a network like 10.0.0.0/8, an address, or unix",
		"10.1.2.3/8":        "want 10.0.0.0/8",
		"::ffff:10.0.0.1":   "want the IPv4 form of the address, 10.0.0.1",
		"0.0.0.0/0":         "this trusts every client",
		"::/0":              "this trusts every client",
	} {
		if _, err := ParseTrust([]string{"10.0.0.0/8", entry}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", entry, err, want)
		}
		if err := CheckEntry(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: CheckEntry: got %v, want %q", entry, err, want)
		}
	}
	if _, err := ParseTrust(slices.Repeat([]string{"::1"}, maxPrefixes)); err != nil {
		t.Errorf("as many entries as allowed: %v", err)
	}
	if _, err := ParseTrust(slices.Repeat([]string{"::1"}, maxPrefixes+1)); err == nil {
		t.Error("too many entries are accepted")
	}
}

// TestCollect checks that fields are found in any case, and others are ignored.
func TestCollect(t *testing.T) {
	var f Fields
	for _, name := range []string{"forwarded", "X-FORWARDED-FOR", "X-Forwarded-proto", "X-Real-IP", "Host"} {
		f.Collect(name, name)
	}
	if len(f.Forwarded) != 1 || len(f.For) != 1 || len(f.Proto) != 1 || f.Proto[0] != "X-Forwarded-proto" {
		t.Errorf("got %+v", f)
	}
}

package listener

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text         string
		key          string // in Key; empty: an error
		network, say string // Network, or a part of the error
	}{
		{":8080", ":8080", TCP, ""},
		{"[::]:8080", ":8080", TCP, ""},
		{"[::]:8080?ipv6only", "[::]:8080?ipv6only", TCP6, ""},
		{"[::]:8080?ipv6only=off", ":8080", TCP, ""},
		{"0.0.0.0:8080", "0.0.0.0:8080", TCP4, ""},
		{"127.0.0.1:0", "127.0.0.1:0", TCP4, ""},
		{"[::1]:8080", "[::1]:8080", TCP6, ""},
		{"[0:0::1]:8080", "[::1]:8080", TCP6, ""},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]:80", TCP6, ""},
		{"localhost:http", "localhost:http", TCP, ""},
		{"127.0.0.1:80?proxy-protocol&trusted=off", "127.0.0.1:80", TCP4, ""},
		{"unix:/run/a.sock", "unix:/run/a.sock", Unix, ""},
		{"unix:/run//b/../a.sock?mode=0660&owner=root&group=0", "unix:/run/a.sock", Unix, ""},
		{"systemd:", "systemd:", Systemd, ""},
		{"http://:80", ":80", TCP, ""},
		{"https://:443", ":443", TCP, ""},
		{"https://[::]:443?ipv6only&trusted", "[::]:443?ipv6only", TCP6, ""},
		{"systemd:web?proxy-protocol", "systemd:web", Systemd, ""},

		{"", "", "", "want host:port"},
		{"8080", "", "", "want host:port"},
		{"host", "", "", "want host:port"},
		{":nine", "", "", "want host:port"},
		{"https://:443/", "", "", "want host:port"},
		{"https://http://:443", "", "", "want host:port"},
		{"wss://:443", "", "", "write https://host:port"},
		{"ws://:80", "", "", "or http://host:port"},
		{"https://unix:/a", "", "", "want host:port"},
		{":65536", "", "", "want host:port"},
		{"a/b:80", "", "", "not the name of a host"},
		{"[::1:80", "", "", "want host:port"},
		{"unix:run/a.sock", "", "", "absolute path"},
		{"unix:", "", "", "absolute path"},
		{"unix:@a", "", "", "abstract name"},
		{"unix:/" + strings.Repeat("a", 107), "", "", "108 bytes"},
		{"unix:/a?mode=0999", "", "", "octal"},
		{"unix:/a?mode=", "", "", "octal"},
		{"unix:/a?mode=07777", "", "", "octal"},
		{"unix:/a?owner=", "", "", "want a name"},
		{"unix:/a?mod=0660", "", "", `did you mean "mode"`},
		{"unix:/a?mode=0660&mode=0600", "", "", "twice"},
		{"unix:/a?ipv6only", "", "", "is for [::]:port"},
		{":80?mode=0660", "", "", "is for unix:/path"},
		{":80?proxyprotocol", "", "", `did you mean "proxy-protocol"`},
		{":80?proxy-protocol=yes", "", "", "on or off"},
		{":80?", "", "", "unknown option"},
		{"127.0.0.1:80?ipv6only", "", "", "[::]:port"},
		{"host:80?ipv6only", "", "", "only [::]:port"},
	} {
		s, err := Parse(tt.text)
		if tt.key == "" {
			if err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Parse(%q) = %v, %v; want an error with %q", tt.text, s, err, tt.say)
			}
			continue
		}
		if err != nil || s.Key() != tt.key || s.Network != tt.network {
			t.Errorf("Parse(%q) = %+v, %v; want %s %s", tt.text, s, err, tt.network, tt.key)
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("Parse(%q), the text of %q: got %+v, %v, want %+v", s.String(), tt.text, again, err, s)
		}
		if again, err := Parse(s.Key()); err != nil || again.Key() != s.Key() {
			t.Errorf("Parse(%q), the key of %q: got %+v, %v", s.Key(), tt.text, again, err)
		}
	}
}

func TestParseAllRefusesDuplicates(t *testing.T) {
	for _, tt := range []struct {
		list string
		ok   bool
	}{
		{":80 :81 127.0.0.1:82 unix:/a", true},
		{":80 :80", false},
		{":80 [::]:80", false},
		{":80 :80?trusted", false},
		{":80 [::]:80?ipv6only", false}, // as the kernel would
		{":80 0.0.0.0:80", false},
		{"127.0.0.1:80 :80", false},
		{":80 localhost:http", false},
		{":80 :http", false},
		{"0.0.0.0:80 127.0.0.1:80", false},
		{"[::]:80?ipv6only [::1]:80", false},
		{"0.0.0.0:80 [::]:80?ipv6only", true},
		{"0.0.0.0:80 [::1]:80", true},
		{"127.0.0.1:80 127.0.0.2:80 [::1]:80 a:80 b:80", true},
		{":0 0.0.0.0:0 127.0.0.1:0", true},
		{"[::1]:80 [0::1]:80", false},
		{"unix:/a unix:/b/../a", false},
		{"systemd:a systemd:b", true},
		{"systemd: systemd:b", false},
		{"systemd:b systemd:", false},
		{":80 :b:a", false},
	} {
		list, err := ParseAll(strings.Fields(tt.list))
		if (err == nil) != tt.ok || tt.ok && len(list) != len(strings.Fields(tt.list)) {
			t.Errorf("%s: got %v, %v; want it allowed: %t", tt.list, list, err, tt.ok)
		}
	}
}

// TestOwnersExist checks that names of users and groups that the machine does not have are errors before a start.
func TestOwnersExist(t *testing.T) {
	for text, want := range map[string]string{
		"unix:/a": "", "unix:/a?owner=0&group=0": "", "unix:/a?owner=root": "", ":80": "", "systemd:": "",
		"unix:/a?group=no-such-group": `"unix:/a?group=no-such-group": group: unknown group no-such-group`,
		"unix:/a?owner=no-such-user":  `"unix:/a?owner=no-such-user": user: unknown user no-such-user`,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := s.CheckOwner(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		spec, key string
		want      bool
	}{
		{":80", ":80", true},
		{":80?trusted", ":80", true},
		{":80", ":81", false},
		{"unix:/a?mode=0666", "unix:/a", true},
		{"systemd:", "systemd:web#1", true},
		{"systemd:", "systemd:a#b#2", true},
		{"systemd:", "unix:/a", false},
		{"systemd:web", "systemd:web#2", true},
		{"systemd:web", "systemd:web2#1", false},
	} {
		s, err := Parse(tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(tt.key); got != tt.want {
			t.Errorf("%q matches %q: %t, want %t", tt.spec, tt.key, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		":80", "[::]:80?ipv6only", "unix:/run/a?mode=0660&group=www", "systemd:web?proxy-protocol=off", "127.0.0.1:0?trusted",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("Parse(%q), the text of %q: got %+v, %v, want %+v", s.String(), text, again, err, s)
		}
		if !s.Matches(s.Key()) && s.Network != Systemd {
			t.Errorf("%q does not match its key", text)
		}
	})
}

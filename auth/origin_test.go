package auth_test

import (
	"crypto/tls"
	"net/url"
	"slices"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

func TestParseOrigins(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string // empty means refused
	}{
		{"https://app.example.com", "https://app.example.com"},
		{" HTTPS://App.Example.com:443/ ", "https://app.example.com"},
		{"http://app.example.com:80", "http://app.example.com"},
		{"https://app.example.com:8443", "https://app.example.com:8443"},
		{"https://*.example.com", "https://*.example.com"},
		{"https://*.example.com:443", "https://*.example.com"},
		{"http://[::1]:3000", "http://[::1]:3000"},
		{"http://127.0.0.1:3000", "http://127.0.0.1:3000"},
		{"https://a~b.example.com", "https://a~b.example.com"},
		{"capacitor://localhost", "capacitor://localhost"},
		{"chrome-extension://abcdef", "chrome-extension://abcdef"},
		{"*", "*"},
		{"null", "null"},
		{"", ""},
		{"app.example.com", ""},
		{"https://", ""},
		{"://app", ""},
		{"https://app.example.com/path", ""},
		{"https://app.example.com?q", ""},
		{"https://user@app.example.com", ""},
		{"https://app.example.com:port", ""},
		{"https://*", ""},
		{"https://*.com", ""},
		{"https://app.*.com", ""},
		{"https://*app.example.com", ""},
		{"https://*.*.example.com", ""},
		{"https://a b.example.com", ""},
		{"https://bücher.example", ""},
		{"https://a.example,https://b.example", ""},
	} {
		got, err := auth.ParseOrigins([]string{tt.in})
		if (err == nil) != (tt.want != "") || (err == nil && !slices.Equal(got, auth.Origins{tt.want})) {
			t.Errorf("%q: got %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	if got, err := auth.ParseOrigins(nil); err != nil || len(got) != 0 {
		t.Errorf("no origins: got %q, %v", got, err)
	}
}

func TestOrigins(t *testing.T) {
	list := []string{"https://front.example.net", "https://*.example.org", "http://dev.example.org:3000", "https://*.ports.example:8443"}
	for _, tt := range []struct {
		name            string
		host            string
		origin          []string // nil means no header
		tls             bool
		list            []string
		allows, matches bool
	}{
		{"no origin: not a browser", "app.example.com", nil, false, nil, true, false},
		{"own host", "app.example.com", []string{"https://app.example.com"}, false, nil, true, true},
		{"own host in other letters", "App.Example.com", []string{"HTTPS://APP.example.COM"}, false, nil, true, true},
		{"own host without TLS", "app.example.com", []string{"http://app.example.com"}, false, nil, true, true},
		{"own host with the default port in Host", "app.example.com:443", []string{"https://app.example.com"}, false, nil, true, true},
		{"own host with the default port in Origin", "app.example.com", []string{"https://app.example.com:443"}, false, nil, true, true},
		{"own host and port", "app.example.com:8080", []string{"http://app.example.com:8080"}, false, nil, true, true},
		{"another port of the own host", "app.example.com:8080", []string{"http://app.example.com:3000"}, false, nil, false, false},
		{"the default port against another", "app.example.com:8080", []string{"http://app.example.com"}, false, nil, false, false},
		{"the default port of another scheme", "app.example.com:80", []string{"https://app.example.com"}, false, nil, false, false},
		{"page without TLS of a server with it", "app.example.com", []string{"http://app.example.com"}, true, nil, false, false},
		{"page with TLS of a server with it", "app.example.com", []string{"https://app.example.com"}, true, nil, true, true},
		{"own address", "127.0.0.1:8080", []string{"http://127.0.0.1:8080"}, false, nil, true, true},
		{"own address of IPv6", "[::1]:8080", []string{"http://[::1]:8080"}, false, nil, true, true},
		{"own address of IPv6 with the default port", "[::1]", []string{"http://[::1]"}, false, nil, true, true},
		{"foreign", "app.example.com", []string{"https://evil.example"}, false, list, false, false},
		{"own host as a part of another", "app.example.com", []string{"https://app.example.com.evil.example"}, false, list, false, false},
		{"own host as a user", "app.example.com", []string{"https://app.example.com@evil.example"}, false, list, false, false},
		{"own host behind another", "app.example.com", []string{"https://evil.example/https://app.example.com"}, false, list, false, false},
		{"own host of another scheme", "localhost", []string{"capacitor://localhost"}, false, nil, false, false},
		{"empty origin", "app.example.com", []string{""}, false, list, false, false},
		{"empty host", "", []string{"https://"}, false, list, false, false},
		{"two origins", "app.example.com", []string{"https://app.example.com", "https://app.example.com"}, false, list, false, false},
		{"two origins in one", "app.example.com", []string{"https://app.example.com https://evil.example"}, false, list, false, false},
		{"null", "app.example.com", []string{"null"}, false, list, false, false},
		{"null by name", "app.example.com", []string{"null"}, false, []string{"null"}, true, false},
		{"null by *", "app.example.com", []string{"null"}, false, []string{"*"}, true, false},
		{"foreign by *: not for cookies", "app.example.com", []string{"https://evil.example"}, false, []string{"*"}, true, false},
		{"own host beside *: for cookies", "app.example.com", []string{"https://app.example.com"}, false, []string{"*"}, true, true},
		{"nonsense by *", "app.example.com", []string{"x", "y"}, false, []string{"*"}, true, false},
		{"listed", "app.example.com", []string{"https://front.example.net"}, false, list, true, true},
		{"listed with the default port", "app.example.com", []string{"https://front.example.net:443"}, false, list, true, true},
		{"listed, another scheme", "app.example.com", []string{"http://front.example.net"}, false, list, false, false},
		{"listed, another port", "app.example.com", []string{"https://front.example.net:444"}, false, list, false, false},
		{"sub-domain", "app.example.com", []string{"https://a.example.org"}, false, list, true, true},
		{"sub-domain of a sub-domain", "app.example.com", []string{"https://a.b.example.org"}, false, list, true, true},
		{"the domain itself", "app.example.com", []string{"https://example.org"}, false, list, false, false},
		{"a name that ends like the domain", "app.example.com", []string{"https://evilexample.org"}, false, list, false, false},
		{"a sub-domain without a name", "app.example.com", []string{"https://.example.org"}, false, list, false, false},
		{"sub-domain, another scheme", "app.example.com", []string{"http://a.example.org"}, false, list, false, false},
		{"sub-domain, another port", "app.example.com", []string{"https://a.example.org:8443"}, false, list, false, false},
		{"sub-domain with its port", "app.example.com", []string{"https://a.ports.example:8443"}, false, list, true, true},
		{"sub-domain without its port", "app.example.com", []string{"https://a.ports.example"}, false, list, false, false},
		{"sub-domain with its port, another scheme", "app.example.com", []string{"http://a.ports.example:8443"}, false, list, false, false},
		{"the entry itself", "app.example.com", []string{"https://*.example.org"}, false, list, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := auth.ParseOrigins(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			r := request(t, "/", "Host: "+tt.host)
			for _, v := range tt.origin {
				r.Header.Add("Origin", v)
			}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if got := o.Allows(r); got != tt.allows {
				t.Errorf("allows: got %v, want %v", got, tt.allows)
			}
			if got := o.Matches(r); got != tt.matches {
				t.Errorf("matches: got %v, want %v", got, tt.matches)
			}
		})
	}
}

// TestOriginsBehindProxy: the scheme that a trusted proxy has told is in the URL, which has no host then. A whole URL is
// from the client, and tells nothing.
func TestOriginsBehindProxy(t *testing.T) {
	for _, tt := range []struct {
		name  string
		url   *url.URL
		plain bool // whether the page at http:// is of the same origin
	}{
		{"no URL", nil, true},
		{"no scheme", &url.URL{Path: "/"}, true},
		{"http", &url.URL{Scheme: "http", Path: "/"}, true},
		{"https", &url.URL{Scheme: "https", Path: "/"}, false},
		{"a whole URL", &url.URL{Scheme: "https", Host: "app.example.com", Path: "/"}, true},
	} {
		for page, want := range map[string]bool{"http://app.example.com": tt.plain, "https://app.example.com": true} {
			r := request(t, "/", "Origin: "+page)
			r.URL = tt.url
			if got := (auth.Origins{}).Allows(r); got != want {
				t.Errorf("%s, %s: got %v, want %v", tt.name, page, got, want)
			}
		}
	}
}

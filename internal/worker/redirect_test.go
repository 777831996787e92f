package worker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/listener"
)

// TestHostOf: only what can be a host of this server is repeated in a redirection.
func TestHostOf(t *testing.T) {
	for field, want := range map[string]string{
		"example.com": "example.com", "example.com:80": "example.com", "EXAMPLE.com.:8080": "EXAMPLE.com.",
		"a_b-c.example": "a_b-c.example", "127.0.0.1:80": "127.0.0.1", "[::1]": "[::1]", "[2001:db8::1]:80": "[2001:db8::1]",

		"": "", ":80": "", "::1": "", "[::1": "", "[::1]x": "", "[::1]:x": "", "[fe80::1%25eth0]": "", "[127.0.0.1]": "",
		"example.com:": "", "example.com:http": "", "example.com:80:80": "", "example.com:65536": "",
		"me@evil.example": "", "a/b": "", `a\b`: "", "a b": "", "a?b": "", "a#b": "", "a,b": "", "a%2fb": "", "ä.example": "",
		"a\r\nb": "", strings.Repeat("a", 255): "",
	} {
		if got, ok := hostOf(field); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %v, want %q", field, got, ok, want)
		}
	}
}

// TestSecurePort: clients are redirected to the port of an address with TLS.
func TestSecurePort(t *testing.T) {
	for list, want := range map[string]int{
		"http://:80 :443":                   443,
		"http://:80 :8443":                  8443,
		"http://:80 :8443 127.0.0.1:443":    443,
		"http://:80 https://:8443 :9443":    8443,
		"http://:80 127.0.0.1:0":            443,
		"http://:80 unix:/a systemd:secure": 443,
		"http://:80":                        443,
	} {
		specs, err := listener.ParseAll(strings.Fields(list))
		if err != nil {
			t.Fatal(err)
		}
		if got := securePort(specs); got != want {
			t.Errorf("%s: got %d, want %d", list, got, want)
		}
	}
}

// TestRedirect: the URL stays the same, but for its scheme and port.
func TestRedirect(t *testing.T) {
	for _, tt := range []struct {
		target, host string
		port         int
		want         string // the Location; empty: 400
	}{
		{"/", "a.example", 443, "https://a.example/"},
		{"/a%2fb/c?d=e&f", "a.example:80", 8443, "https://a.example:8443/a%2fb/c?d=e&f"},
		{"//evil.example/x", "[::1]:80", 443, "https://[::1]//evil.example/x"},
		{"http://b.example/x", "a.example", 443, "https://b.example/x"},
		{"/", "me@evil.example", 443, ""},
		{"/", "", 443, ""},
		{"*", "a.example", 443, ""},
	} {
		r := httptest.NewRequest(http.MethodOptions, tt.target, nil)
		if !strings.HasPrefix(tt.target, "http://") { // net/http has the host of that one in Host
			r.Host = tt.host
		}
		w := httptest.NewRecorder()
		redirect(w, r, tt.port)
		want := http.StatusPermanentRedirect
		if tt.want == "" {
			want = http.StatusBadRequest
		}
		if got := w.Header().Get("Location"); w.Code != want || got != tt.want {
			t.Errorf("%s of %q: got %d %q, want %d %q", tt.target, tt.host, w.Code, got, want, tt.want)
		}
	}
}

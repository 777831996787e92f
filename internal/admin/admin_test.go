package admin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func admin() http.Handler {
	page := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	return Handler(Config{
		Metrics: page("expedite_connections 1\n"), Ready: page("ready"), Hosts: []string{"Admin.example", "proxy.example."},
	})
}

func TestPages(t *testing.T) {
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, `href="/metrics"`},
		{"/metrics", 200, "expedite_connections 1"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/cmdline", 200, "admin.test"},
		{"/debug/pprof/heap?debug=1", 200, "heap profile"},
		{"/debug/pprof/symbol", 200, "num_symbols"},
		{"/debug/pprof/profile?seconds=0.5", 400, "a whole number"},
		{"/debug/pprof/trace?seconds=0.01", 200, ""},
		{"/healthz", 200, "ok"},
		{"/readyz", 200, "ready"},
		{"/status", 404, ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", tt.path, nil)
			r.Host = "127.0.0.1:9600"
			admin().ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.status, tt.want)
			}
		})
	}
}

func TestWithoutMetrics(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "localhost"
	Handler(Config{}).ServeHTTP(w, r)
	if w.Code != 404 {
		t.Errorf("got %d, want 404", w.Code)
	}
}

// TestHost checks that requests for a name that an attacker made resolve to this machine are refused.
func TestHost(t *testing.T) {
	for _, tt := range []struct {
		host string
		want int
	}{
		{"", 200},
		{"localhost", 200},
		{"localhost:9600", 200},
		{"LocalHost.:9600", 200},
		{"app.localhost:9600", 200},
		{"127.0.0.1:9600", 200},
		{"10.1.2.3", 200},
		{"[::1]:9600", 200},
		{"[::1]", 200},
		{"evil.example", 403},
		{"evil.example:9600", 403},
		{"127.0.0.1.evil.example:9600", 403},
		{"localhost.evil.example", 403},
		{"notlocalhost", 403},
		{"127.0.0.1:9600@evil.example", 403},
		{"1", 403},
	} {
		t.Run(tt.host, func(t *testing.T) {
			for _, path := range []string{"/", "/metrics", "/debug/pprof/cmdline"} {
				w := httptest.NewRecorder()
				r := httptest.NewRequest("GET", path, nil)
				r.Host = tt.host
				admin().ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Errorf("%s: got %d, want %d", path, w.Code, tt.want)
				}
			}
		})
	}
}

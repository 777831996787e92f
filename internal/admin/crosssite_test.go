package admin

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// chrome is the User-Agent of a browser.
const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

// crossSite lists requests to a listener that trusts admin.example and proxy.example. SELF in a header field stands for
// the address of the listener. why is a part of the refusal, or empty if the request is answered.
var crossSite = []struct {
	name, path, host, why string
	header                http.Header
}{
	{"curl, Prometheus, go tool pprof", "/debug/pprof/cmdline", "", "", nil},
	{"an address that was typed", "/debug/pprof/cmdline", "", "", http.Header{"Sec-Fetch-Site": {"none"}}},
	{"a link of the index", "/debug/pprof/cmdline", "", "", http.Header{"Sec-Fetch-Site": {"same-origin"}}},
	{"a script of the same origin", "/metrics", "", "", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://SELF"}}},
	{"another site", "/debug/pprof/cmdline", "", "Sec-Fetch-Site: cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"another site: a worker", "/debug/pprof/profile?worker=1", "", "cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"another site: metrics", "/metrics", "", "cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"another site: index", "/", "", "cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"another site: unknown path", "/none", "", "cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"another port", "/debug/pprof/cmdline", "", "same-site", http.Header{"Sec-Fetch-Site": {"same-site"}}},
	{"an empty site", "/metrics", "", "Sec-Fetch-Site", http.Header{"Sec-Fetch-Site": {""}}},
	{"a second site", "/metrics", "", "cross-site", http.Header{"Sec-Fetch-Site": {"none", "cross-site"}}},
	{"an old browser's script", "/metrics", "", "--admin-hosts", http.Header{"Origin": {"https://evil.example"}}},
	{"an old browser's script on another port", "/metrics", "", "--admin-hosts", http.Header{"Origin": {"http://127.0.0.1"}}},
	{"a sandboxed frame", "/metrics", "", "--admin-hosts", http.Header{"Origin": {"null"}}},
	{"an empty origin", "/metrics", "", "--admin-hosts", http.Header{"Origin": {""}}},
	{"a second origin", "/metrics", "", "--admin-hosts", http.Header{"Origin": {"http://SELF", "http://evil.example"}}},
	{"a rebound name", "/metrics", "evil.example", "and refuses other names", http.Header{"Sec-Fetch-Site": {"same-origin"}}},
	{"a configured name", "/metrics", "ADMIN.example:9600", "", nil},
	{"a configured name with a trailing dot", "/metrics", "proxy.example.", "", nil},
	{"a subdomain of a configured name", "/metrics", "evil.admin.example", "and refuses other names", nil},
	{
		"a proxy that passes Host", "/metrics", "proxy.example", "",
		http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://proxy.example"}},
	},
	{
		"a proxy that changes Host", "/metrics", "", "",
		http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://proxy.example:8443"}},
	},
	{"another site through a proxy", "/metrics", "proxy.example", "cross-site", http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{"a browser without Sec-Fetch-Site and Referer", "/debug/pprof/cmdline", "10.1.2.3", "follow a link", http.Header{"User-Agent": {chrome}}},
	{
		"a browser after a link", "/debug/pprof/cmdline", "10.1.2.3:9600", "",
		http.Header{"User-Agent": {chrome}, "Referer": {"http://10.1.2.3:9600/debug/pprof/"}},
	},
	{
		"a browser after a link through a proxy", "/debug/pprof/cmdline", "10.1.2.3:9600", "",
		http.Header{"User-Agent": {chrome}, "Referer": {"https://proxy.example/debug/pprof/"}},
	},
	{
		"a browser after a link of another page", "/debug/pprof/cmdline", "10.1.2.3", "follow a link",
		http.Header{"User-Agent": {chrome}, "Referer": {"http://evil.example/"}},
	},
	{"a browser: index", "/debug/pprof/", "10.1.2.3", "", http.Header{"User-Agent": {chrome}}},
	{"a browser: metrics", "/metrics", "10.1.2.3", "", http.Header{"User-Agent": {chrome}}},
}

// TestCrossSite checks that requests are refused if a page of another origin made a browser send them.
func TestCrossSite(t *testing.T) {
	server := httptest.NewServer(admin())
	defer server.Close()
	self := server.Listener.Addr().String()
	for _, tt := range crossSite {
		t.Run(tt.name, func(t *testing.T) {
			status, body := fetch(t, server, tt.path, tt.host, tt.header)
			want := http.StatusForbidden
			if tt.why == "" {
				want = http.StatusOK
			}
			if status != want || !strings.Contains(body, tt.why) {
				t.Errorf("got %d %q, want %d %q", status, body, want, tt.why)
			}
		})
	}
	preflight := http.Header{"Origin": {"http://evil.example"}, "Access-Control-Request-Headers": {"user-agent"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+self+"/debug/pprof/profile", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = preflight
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight got %s and %v", resp.Status, resp.Header)
	}
}

// fetch sends a request over TCP.
func fetch(t *testing.T, server *httptest.Server, path, host string, header http.Header) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for name, values := range header {
		for _, v := range values {
			r.Header.Add(name, strings.Replace(v, "SELF", server.Listener.Addr().String(), 1))
		}
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestCheckHost checks that a name that no Host header can have is refused.
func TestCheckHost(t *testing.T) {
	for name, valid := range map[string]bool{
		"admin.example": true, "admin": true, "admin.example.": true,
		"": false, "http://admin.example": false, "admin.example:9600": false, "*.example": false, "a b": false, "a,b": false,
	} {
		if err := CheckHost(name); (err == nil) != valid {
			t.Errorf("%q: got %v, valid is %t", name, err, valid)
		}
	}
}

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// adminAddr returns the address of the server's admin listener.
func (s *server) adminAddr() string {
	s.t.Helper()
	var found []string
	eventually(s.t, "the banner tells the admin listener", func() bool {
		found = regexp.MustCompile(`admin +http://([^/\s]+)/`).FindStringSubmatch(s.output.String())
		return found != nil
	})
	return found[1]
}

// adminStatus sends a request for the given host to the admin listener, as programs other than browsers do.
func (s *server) adminStatus(path, host string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.adminAddr()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode
}

// TestAdminHosts checks that a reverse proxy may send requests for a name in --admin-hosts to the admin listener.
func TestAdminHosts(t *testing.T) {
	s := serve(t, "--workers", "1", "--admin-hosts", "metrics.example,other.example")
	for host, want := range map[string]int{
		"": 200, "metrics.example:9600": 200, "other.example": 200, "evil.example": 403,
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/cmdline?worker=1"} {
			if got := s.adminStatus(path, host); got != want {
				t.Errorf("%s of %q: got %d, want %d", path, host, got, want)
			}
		}
	}
}

// TestPagesStartNoProfile checks that the admin listener refuses what a page of another origin makes a real browser
// request: on another port and host of this machine; where the browser sends no Sec-Fetch-Site, as without TLS on
// another machine; and by a name that resolves to the listener. The listener's own pages work.
func TestPagesStartNoProfile(t *testing.T) {
	s := serve(t, "--workers", "1", "--admin-hosts", "admin.test")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>page</title>")
	}))
	t.Cleanup(page.Close)
	_, adminPort, err := net.SplitHostPort(s.adminAddr())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(page.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := startBrowser(ctx, t, "--host-resolver-rules=MAP *.test 127.0.0.1")

	for pageHost, adminHost := range map[string]string{"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "page.test": "admin.test"} {
		tab := b.open(ctx, "http://"+pageHost+":"+u.Port()+"/")
		for _, query := range []string{"seconds=60", "seconds=60&worker=1"} {
			// An answer within the sixty seconds is a refusal, even if the page may not read it.
			var kind string
			b.evaluate(ctx, tab, `fetch("http://`+adminHost+":"+adminPort+"/debug/pprof/profile?"+query+
				`", {mode: "no-cors", referrerPolicy: "no-referrer"}).then(r => r.text().then(() => r.type))`, &kind)
			if kind != "opaque" {
				t.Errorf("a page of %s got %q from %s", pageHost, kind, adminHost)
			}
		}
	}
	for _, worker := range []string{"", "&worker=1"} { // a second profile at the same time would fail
		if got := s.adminStatus("/debug/pprof/profile?seconds=1"+worker, ""); got != http.StatusOK {
			t.Errorf("a profile of one's own: got %d, want 200", got)
		}
	}

	const text = `document.body.innerText`
	var shown string
	b.evaluate(ctx, b.open(ctx, "http://evil.test:"+adminPort+"/metrics"), text, &shown)
	if !strings.Contains(shown, "--admin-hosts") {
		t.Errorf("a name that leads to the listener reads %q", shown)
	}
	for _, host := range []string{"127.0.0.1", "admin.test"} {
		tab := b.open(ctx, "http://"+host+":"+adminPort+"/debug/pprof/")
		b.evaluate(ctx, tab, `fetch("cmdline").then(r => r.text())`, &shown)
		if strings.Contains(shown, "another origin") || !strings.Contains(shown, "serve") {
			t.Errorf("a page of %s reads %q", host, shown)
		}
	}
}

package expedite

import (
	"context"
	"crypto/ecdsa"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/certtest"
)

// TestCheckAuto: what cannot work is refused before anything starts, and named.
func TestCheckAuto(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(change func(*Config)) error {
		c := Config{StateDir: dir, TLS: TLS{Auto: TLSAuto{Domains: []string{"one.example.com"}}}}
		change(&c)
		return New(c).Check()
	}
	for want, change := range map[string]func(*Config){
		"":                    func(*Config) {},
		"a wildcard":          func(c *Config) { c.TLS.Auto.Domains = []string{"*.example.com"} },
		"twice":               func(c *Config) { c.TLS.Auto.Domains = []string{"a.example.com", "a.example.com"} },
		"end with .internal":  func(c *Config) { c.TLS.Auto.Domains = []string{"a.internal"} },
		"at most 100":         func(c *Config) { c.TLS.Auto.Domains = make([]string, 101) },
		"want the https URL":  func(c *Config) { c.TLS.Auto.CA = "http://ca.example.com" },
		"want one address":    func(c *Config) { c.TLS.Auto.Email = "a@b.c,d@e.f" },
		"certificates need a": func(c *Config) { c.StateDir = "" },
		"is not a folder":     func(c *Config) { c.TLS.Auto.Folder = file },
		"not a directory":     func(c *Config) { c.TLS.Auto.Folder = filepath.Join(file, "below") },
		"Email is of no use":  func(c *Config) { c.TLS.Auto = TLSAuto{Email: "a@b.c"} },
		"CA is of no use":     func(c *Config) { c.TLS.Auto = TLSAuto{CA: "https://ca.test"} },
		"Folder is of no use": func(c *Config) { c.TLS.Auto = TLSAuto{Folder: dir} },
		"ClientCA is of no":   func(c *Config) { c.TLS = TLS{ClientCA: "ca.pem"} },
		"no address is one":   func(c *Config) { c.Addr = "unix:" + filepath.Join(dir, "s") },
	} {
		err := of(change)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.TLS.Auto.Domains, c.TLS.Auto.CA = []string{"a.internal"}, "https://ca.internal/dir" },
		func(c *Config) { c.StateDir, c.TLS.Auto.Folder = "", dir },
		func(c *Config) { c.TLS.Auto.Email = "a@example.com" },
		func(c *Config) { c.TLS.ClientCA = "" },
	} {
		if err := of(change); err != nil {
			t.Error(err)
		}
	}
}

// TestNoCertificateYet: a server that has no certificate yet is ready, so that the authority reaches it, and says what
// is missing until the first one comes.
func TestNoCertificateYet(t *testing.T) {
	dir, started := t.TempDir(), make(chan Started, 1)
	app := New(Config{
		Workers: -1, Addr: "https://127.0.0.1:0", Addrs: []string{"http://localhost:0"}, Admin: "127.0.0.1:0",
		OnStart: func(s Started) { started <- s },
		TLS:     TLS{Auto: TLSAuto{Domains: []string{"one.test"}, CA: "https://127.0.0.1:0/dir", Folder: dir}},
	})
	app.HTTP(app.Readyz())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	var s Started
	select {
	case s = <-started:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("it does not start")
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	ready := func(at string) (degraded bool) {
		t.Helper()
		res, err := client.Get("http://" + at + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d, %v", at, res.StatusCode, err)
		}
		return strings.Contains(string(b), `"degraded":["certificates"]`)
	}
	for _, at := range []string{s.Addresses[1], s.Admin} {
		if !ready(at) {
			t.Errorf("%s does not tell that there is no certificate", at)
		}
	}
	p := certtest.New(t).IssueUntil("x", "one.test", time.Now().Add(365*24*time.Hour))
	err := certstore.Folder(dir).Write("one.test", p.TLS.PrivateKey.(*ecdsa.PrivateKey), p.TLS.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(patience); ready(s.Addresses[1]) || ready(s.Admin); {
		select {
		case <-deadline:
			t.Fatal("the certificate has come, and it is not told")
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

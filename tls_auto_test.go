package expedite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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

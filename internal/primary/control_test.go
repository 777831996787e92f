package primary

import (
	"strings"
	"testing"
)

// TestAdminHosts: the host of the admin listener is one of its names, beside those of AdminHosts.
func TestAdminHosts(t *testing.T) {
	for addr, want := range map[string]string{"admin.example:9600": "proxy.example admin.example", ":9600": "proxy.example"} {
		cfg := ControlConfig{Admin: addr, AdminHosts: []string{"proxy.example"}}
		if got := strings.Join(cfg.adminHosts(), " "); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

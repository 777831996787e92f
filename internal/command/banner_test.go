package command

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
)

// TestBannerRedirects: an address that only redirects is not offered as one to connect to.
func TestBannerRedirects(t *testing.T) {
	st := expedite.Started{
		Addresses: []string{"0.0.0.0:80", "localhost:443", "unix:/run/s"}, TLS: []string{"localhost:443"},
	}
	for _, tt := range []struct {
		redirect    bool
		want, never []string
	}{
		{true, []string{"http://localhost:80/ to https://", "wss://localhost:443/", "unix:/run/s"}, []string{"ws://localhost:80"}},
		{false, []string{"ws://localhost:80/", "wss://localhost:443/", "unix:/run/s"}, []string{"redirect"}},
	} {
		var text strings.Builder
		program("x").banner(&text, st, &expedite.Config{TLS: expedite.TLS{Redirect: tt.redirect}})
		for _, want := range tt.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("redirect %v: no %q in %s", tt.redirect, want, text.String())
			}
		}
		for _, never := range tt.never {
			if strings.Contains(text.String(), never) {
				t.Errorf("redirect %v: %q in %s", tt.redirect, never, text.String())
			}
		}
	}
}

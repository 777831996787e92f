package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestChanges checks which settings count as changed, and when a running program can apply them.
func TestChanges(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("redis://h"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		before, now []string
		env         []string
		want        string
		live        bool
	}{
		{"nothing", []string{"workers: 2"}, []string{"workers: 2"}, nil, "", false},
		{"the default is written down", nil, []string{"workers: auto", "log-level: info"}, nil, "", false},
		{"an empty value", []string{"log-level: info"}, []string{"log-level: "}, nil, "", false},
		{"live ones", []string{"origins: http://a"}, []string{"origins: http://b", "log-level: warn"}, nil, "origins log-level", true},
		{"back to the default", []string{"max-connections: 5"}, nil, nil, "max-connections", true},
		{"live and others", nil, []string{"log-level: warn", "workers: 2"}, nil, "workers log-level", false},
		{"a variable hides it", nil, []string{"workers: 2"}, []string{"EXPEDITE_WORKERS=3"}, "", false},
		{"a secret that may have changed", nil, []string{"log-level: warn"}, []string{"EXPEDITE_REDIS_FILE=" + secret}, "log-level", false},
	} {
		before, err := Load(Sources{File: file(tt.before...), Environ: tt.env})
		if err != nil {
			t.Fatal(err)
		}
		now, err := Load(Sources{File: file(tt.now...), Environ: tt.env})
		if err != nil {
			t.Fatal(err)
		}
		names, live := now.Changes(before)
		if got := strings.Join(names, " "); got != tt.want || live != tt.live {
			t.Errorf("%s: got %q, %v; want %q, %v", tt.name, got, live, tt.want, tt.live)
		}
	}
}

// TestLive checks that those settings are live that the root package applies: see expedite.Config.InPlace.
func TestLive(t *testing.T) {
	var got []string
	for _, s := range newTable(new(Program)).settings() {
		if s.Live {
			got = append(got, s.Name)
		}
	}
	want := []string{"origins", "max-connections", "max-handshakes", "max-per-address", "max-http-connections", "log-level"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

package primary

import (
	"strings"
	"testing"
)

// TestSettings: a reload refuses what it cannot change, and warns of what it opens.
func TestSettings(t *testing.T) {
	was := settings{Addr: ":80", Listeners: []string{":80"}, Scheduling: "round-robin", Control: "/a", Workers: 2, Auth: "required", Origins: []string{"a"}}
	for _, tt := range []struct {
		name            string
		change          func(*settings)
		refused, warned string
	}{
		{"nothing", func(*settings) {}, "", ""},
		{"more workers", func(s *settings) { s.Workers = 3 }, "", ""},
		{"another address", func(s *settings) { s.Addr, s.Listeners = ":81", []string{":81"} }, "", ""},
		{"more addresses", func(s *settings) { s.Listeners = []string{":80", "unix:/a"} }, "", ""},
		{"another policy", func(s *settings) { s.Scheduling = "none" }, "Config.Scheduling", ""},
		{"another socket", func(s *settings) { s.Control = "/b" }, "Config.Control", ""},
		{"a looser mode", func(s *settings) { s.Auth = "optional" }, "", "without a token"},
		{"another origin", func(s *settings) { s.Origins = []string{"a", "b"} }, "", "pages of b"},
		{"fewer origins", func(s *settings) { s.Origins = nil }, "", ""},
	} {
		next := was
		tt.change(&next)
		err := was.refuse(next)
		if (err != nil) != (tt.refused != "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: refused with %v, want %q in it", tt.name, err, tt.refused)
		}
		warned := strings.Join(was.warn(next), "; ")
		if (warned != "") != (tt.warned != "") || !strings.Contains(warned, tt.warned) {
			t.Errorf("%s: warned of %q, want %q in it", tt.name, warned, tt.warned)
		}
	}
	early := settings{Addr: ":80", Scheduling: "none"} // of a release with one address
	for _, tt := range []struct {
		next settings
		ok   bool
	}{
		{settings{Addr: ":80", Listeners: []string{":80"}, Scheduling: "none"}, true},
		{settings{Addr: ":80", Listeners: []string{":80?trusted"}, Scheduling: "none"}, true},
		{settings{Addr: ":81", Listeners: []string{":81"}, Scheduling: "none"}, false},
		{settings{Addr: ":80", Listeners: []string{":80", "unix:/a"}, Scheduling: "none"}, false},
	} {
		if err := early.refuse(tt.next); (err == nil) != tt.ok {
			t.Errorf("from an early release to %q: %v, want it allowed: %t", tt.next.Listeners, err, tt.ok)
		}
	}
	looser := settings{Auth: "optional"}
	if got := looser.warn(settings{Auth: "required"}); got != nil {
		t.Errorf("a stricter mode: warned of %q", got)
	}
}

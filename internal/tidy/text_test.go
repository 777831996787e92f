package tidy

import (
	"regexp"
	"strings"
	"testing"
)

// machinePath matches paths that exist on particular machines only. Paths of URLs do not match.
var machinePath = regexp.MustCompile(`(^|[^\w./-]|file://)/(work|home|root)/`)

// later matches words that defer work. It is composed of pieces, so that it does not match in this file.
var later = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func textFaults(path, text string) (faults []fault) {
	for i, line := range strings.Split(text, "\n") {
		if machinePath.MatchString(line) {
			faults = append(faults, fault{path, i + 1, "machine", "names a path of a machine: " + line})
		}
		if later.MatchString(line) {
			faults = append(faults, fault{path, i + 1, "later", "leaves something for later: " + line})
		}
	}
	return faults
}

// TestText checks that no file contains a path of a particular machine or defers work.
func TestText(t *testing.T) {
	walk(t, func(path, text string) {
		for _, fault := range textFaults(path, text) {
			t.Error(fault)
		}
	})
}

// TestTextRules checks that the rules find violations.
func TestTextRules(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"see /ho" + "me/alice/x", "machine"},
		{"`/ro" + "ot/x`", "machine"},
		{"PATH=/a:/wo" + "rk/main", "machine"},
		{"file:///ho" + "me/alice", "machine"},
		{"https://host/home/page", ""},
		{"./wo" + "rk/main and a/root/b and /homework/", ""},
		{"// TO" + "DO: later", "later"},
		{"// FIX" + "ME", "later"},
		{"a mastodon, to do", ""},
	} {
		wantRule(t, tt.text, textFaults("a.md", tt.text), tt.want)
	}
}

package tidy

import (
	"regexp"
	"strings"
	"testing"
)

// machinePath is a path that only some machine has. The path of a URL is none.
var machinePath = regexp.MustCompile(`(^|[^\w./-]|file://)/(work|home|root)/`)

// later is how work is left for later. In pieces, so that this file does not find itself.
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

// TestText: no file names a path of some machine, or leaves work for later.
func TestText(t *testing.T) {
	walk(t, func(path, text string) {
		for _, fault := range textFaults(path, text) {
			t.Error(fault)
		}
	})
}

// TestTextRules: the rules notice what they are there for.
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

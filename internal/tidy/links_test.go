package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link matches a Markdown link to a file. Links with a scheme, and links to a heading of the same page, do not match.
var link = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

// code matches text that Markdown does not interpret: fenced blocks and code spans.
var code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

// linkFaults finds links of a page under dir to files that do not exist.
func linkFaults(dir, path, text string) (faults []fault) {
	text = code.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	for i, line := range strings.Split(text, "\n") {
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			if _, err := os.Stat(filepath.Join(dir, filepath.Dir(path), m[1])); err != nil {
				faults = append(faults, fault{path, i + 1, "link", err.Error()})
			}
		}
	}
	return faults
}

// TestLinks checks that links within the repository lead to existing files.
func TestLinks(t *testing.T) {
	found := 0
	walk(t, func(path, text string) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		found += len(link.FindAllString(text, -1))
		for _, fault := range linkFaults(root, path, text) {
			t.Error(fault)
		}
	})
	if found == 0 {
		t.Error("no links found: the rule does nothing")
	}
}

// TestLinkRule checks that the rule finds violations.
func TestLinkRule(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"[a](../README.md)":           "",
		"[a](../README.md#heading)":   "",
		"[a](../docs)":                "",
		"[a](README.md)":              "link",
		"[a](../README.md) [b](gone)": "link",
		"[a](gone#heading)":           "link",
		"[a](https://example.com/x)":  "",
		"[a](#heading)":               "",
		"`[a](gone)`":                 "",
		"```\n[a](gone)\n```":         "",
		"```\nx\n```\n[a](gone)\n":    "link",
	} {
		wantRule(t, text, linkFaults(dir, "docs/page.md", text), want)
	}
}

package doctest

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// index is the page that has to link all others, and is linked from README.md.
const index = "docs/README.md"

var link = regexp.MustCompile(`\]\(([^)\s]*)\)`)

// links returns the targets of the page's links that have no scheme: the path of a file, and the name of a heading.
func (p *page) links() (list [][2]string) {
	for _, line := range p.prose() {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			if strings.Contains(m[1], ":") {
				continue
			}
			file, heading, _ := strings.Cut(m[1], "#")
			to := p.path
			if file != "" {
				to = path.Join(path.Dir(p.path), file)
			}
			list = append(list, [2]string{to, heading})
		}
	}
	return list
}

var (
	headingLine = regexp.MustCompile(`^#{1,6} (.*)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns the names by which the headings of a page can be linked on GitHub.
func (p *page) anchors() map[string]bool {
	names := make(map[string]bool)
	for _, line := range p.prose() {
		if m := headingLine.FindStringSubmatch(line); m != nil {
			text := link.ReplaceAllString(m[1], "")
			names[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")] = true
		}
	}
	return names
}

// TestIndex checks that README.md links the index, and the index every page and picture-bearing folder of docs.
func TestIndex(t *testing.T) {
	linked := make(map[string]map[string]bool)
	all := pages(t)
	for _, p := range all {
		linked[p.path] = make(map[string]bool)
		for _, to := range p.links() {
			linked[p.path][to[0]] = true
		}
	}
	if !linked["README.md"][index] && !linked["README.md"]["docs"] {
		t.Errorf("README.md does not link %s", index)
	}
	for _, p := range all {
		if p.path != index && p.path != "README.md" && !linked[index][p.path] {
			t.Errorf("%s does not link %s", index, p.path)
		}
	}
}

// TestAnchors checks that links to headings of pages lead to headings. That files exist is checked by internal/tidy.
func TestAnchors(t *testing.T) {
	byPath := make(map[string]*page)
	for _, p := range pages(t) {
		byPath[p.path] = p
	}
	found := 0
	for _, p := range byPath {
		for _, to := range p.links() {
			if target := byPath[to[0]]; to[1] != "" && target != nil {
				found++
				if !target.anchors()[to[1]] {
					t.Errorf("%s links %s#%s, which is no heading there", p.path, to[0], to[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no links to headings found: the rule does nothing")
	}
}

// TestLinkRules checks that links and headings are found.
func TestLinkRules(t *testing.T) {
	p := newPage("docs/a/b.md", strings.Join([]string{
		"# One page: `x`, and more", "", "## What *it* does_not", "[a](../c.md) [b](#one) `[c](d)` [e](https://x/y)",
		"```", "# comment [f](g)", "```", "[h](i.md#j-k)",
	}, "\n"))
	got := p.links()
	want := [][2]string{{"docs/c.md", ""}, {"docs/a/b.md", "one"}, {"docs/a/i.md", "j-k"}}
	if len(got) != len(want) {
		t.Fatalf("links: got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("link %d: got %v, want %v", i, got[i], want[i])
		}
	}
	if names := p.anchors(); !names["one-page-x-and-more"] || !names["what-it-does_not"] || len(names) != 2 {
		t.Errorf("anchors: got %v", names)
	}
}

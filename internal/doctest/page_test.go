package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// page is a Markdown file of the documentation.
type page struct {
	path  string // relative to the root, with slashes
	lines []string
}

// block is a fenced block of code.
type block struct {
	page *page
	line int    // of its first line of text
	lang string // "" if the fence names none
	note string // what a comment in the line before the fence says
	text string
}

func (b *block) place() string { return fmt.Sprintf("%s:%d", b.page.path, b.line) }

// span is code within a line.
type span struct {
	line int
	text string
}

// pages returns README.md and all pages under docs except decisions, which describe their day.
func pages(t *testing.T) (list []*page) {
	t.Helper()
	paths := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "decisions" {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".md") {
			paths = append(paths, filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, newPage(filepath.ToSlash(path), string(text)))
	}
	if len(list) < 10 {
		t.Fatalf("only %d pages found", len(list))
	}
	return list
}

func newPage(path, text string) *page { return &page{path, strings.Split(text, "\n")} }

var (
	fence = regexp.MustCompile("^ *```([a-z]*)$")
	note  = regexp.MustCompile(`^ *<!-- (.*) -->$`)
	code  = regexp.MustCompile("`([^`]+)`")
)

// blocks returns the blocks of code with one of the languages, or all of them if none is given.
func (p *page) blocks(langs ...string) (list []*block) {
	var open *block
	for i, line := range p.lines {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open = &block{page: p, line: i + 2, lang: m[1]}
			if i > 0 {
				if n := note.FindStringSubmatch(p.lines[i-1]); n != nil {
					open.note = n[1]
				}
			}
		case m != nil:
			for _, lang := range langs {
				if open.lang == lang {
					list = append(list, open)
				}
			}
			if len(langs) == 0 {
				list = append(list, open)
			}
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return list
}

// prose returns the lines of the page with those of its blocks of code empty.
func (p *page) prose() []string {
	lines, inside := make([]string, len(p.lines)), false
	for i, line := range p.lines {
		if fence.MatchString(line) {
			inside = !inside
		} else if !inside {
			lines[i] = line
		}
	}
	return lines
}

// spans returns the code within the lines of the page. A span does not continue on the next line.
func (p *page) spans() (list []span) {
	for i, line := range p.prose() {
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			list = append(list, span{i + 1, m[1]})
		}
	}
	return list
}

// TestPage checks that blocks, notes, prose and spans are found.
func TestPage(t *testing.T) {
	p := newPage("a.md", "say `x` and `y z`\n<!-- run -->\n```sh\nls `a`\n```\nthen\n```\nplain\n```\n")
	if got := p.blocks("sh"); len(got) != 1 || got[0].note != "run" || got[0].text != "ls `a`\n" || got[0].line != 4 {
		t.Errorf("blocks of sh: got %+v", got)
	}
	if got := p.blocks(); len(got) != 2 || got[1].lang != "" || got[1].note != "" {
		t.Errorf("all blocks: got %+v", got)
	}
	if got := fmt.Sprint(p.spans()); got != "[{1 x} {1 y z}]" {
		t.Errorf("spans: got %s", got)
	}
	if got := strings.Join(p.prose(), "|"); got != "say `x` and `y z`|<!-- run -->||||then||||" {
		t.Errorf("prose: got %q", got)
	}
}

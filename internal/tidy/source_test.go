package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

const root = "../.."

const module = "github.com/expedite-go/expedite"

// file is a Go file of the tree.
type file struct {
	path string // from the root, with slashes
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// pkg is the folder; the root is ".".
func (f *file) pkg() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f *file) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f *file) fault(p token.Pos, rule, detail string) fault {
	return fault{f.path, f.line(p), rule, detail}
}

// imports are the paths that the file imports, in the order of f.ast.Imports.
func (f *file) imports() []string {
	list := make([]string, len(f.ast.Imports))
	for i, spec := range f.ast.Imports {
		list[i], _ = strconv.Unquote(spec.Path.Value) // the parser has looked at it
	}
	return list
}

// parse reads one file's text.
func parse(t *testing.T, path, text string) *file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &file{path: path, text: text, ast: tree, fset: fset}
}

// walk calls visit with the path and text of every file of the tree that people write. Binaries, sums, caches and what
// git keeps are none.
func walk(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && (name == ".git" || name == ".cache" || name == "node_modules"):
			return filepath.SkipDir
		case !d.Type().IsRegular() || name == "go.sum" || name == ".git": // a file in a linked worktree
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if text := string(b); utf8.ValidString(text) && !strings.Contains(text, "\x00") {
			visit(filepath.ToSlash(rel), text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles are all Go files of the tree, for whatever platform, but those in testdata.
func goFiles(t *testing.T) []*file {
	t.Helper()
	var list []*file
	walk(t, func(path, text string) {
		if strings.HasSuffix(path, ".go") && !strings.Contains(path, "testdata/") {
			list = append(list, parse(t, path, text))
		}
	})
	if len(list) < 50 {
		t.Fatalf("only %d Go files found", len(list))
	}
	return list
}

// wantRule checks that exactly one fault is found, of that rule, or none if there is no rule.
func wantRule(t *testing.T, name string, got []fault, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s: got %v, want no fault", name, got)
	case want != "" && (len(got) != 1 || got[0].rule != want):
		t.Errorf("%s: got %v, want one fault of %s", name, got, want)
	}
}

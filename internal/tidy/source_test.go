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

// file is a Go file of the repository.
type file struct {
	path string // relative to the root, with slashes
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// pkg returns the folder of the file. The root is ".".
func (f *file) pkg() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f *file) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f *file) fault(p token.Pos, rule, detail string) fault {
	return fault{f.path, f.line(p), rule, detail}
}

// imports returns the paths that the file imports, in the order of f.ast.Imports.
func (f *file) imports() []string {
	list := make([]string, len(f.ast.Imports))
	for i, spec := range f.ast.Imports {
		list[i], _ = strconv.Unquote(spec.Path.Value) // the parser has validated it
	}
	return list
}

// parse parses a file with the given text.
func parse(t *testing.T, path, text string) *file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &file{path: path, text: text, ast: tree, fset: fset}
}

// walk calls visit with the path and text of every file of the repository that people write. It skips binaries,
// checksums, caches and git's own files.
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
		case !d.Type().IsRegular() || name == "go.sum" || name == ".git": // .git is a file in a linked worktree
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

// goFiles returns all Go files of the repository, for every platform, except those in testdata.
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

// wantRule checks that exactly one fault of the given rule is found, or none if the rule is empty.
func wantRule(t *testing.T, name string, got []fault, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s: got %v, want no fault", name, got)
	case want != "" && (len(got) != 1 || got[0].rule != want):
		t.Errorf("%s: got %v, want one fault of %s", name, got, want)
	}
}

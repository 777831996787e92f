package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// parse reads one file's text.
func parse(t *testing.T, path, text string) *file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return &file{path: path, text: text, ast: tree, fset: fset}
}

// walk calls f with the path and text of every file of the tree that ends in one of suffixes.
func walk(t *testing.T, f func(path, text string), suffixes ...string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "testdata" || (strings.HasPrefix(name, ".") && name != ".ci")) {
			return filepath.SkipDir
		}
		for _, s := range suffixes {
			if !d.IsDir() && strings.HasSuffix(name, s) {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				rel, err := filepath.Rel(root, path)
				if err != nil {
					return err
				}
				f(filepath.ToSlash(rel), string(b))
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles are all Go files of the tree, for whatever platform.
func goFiles(t *testing.T) []*file {
	t.Helper()
	var list []*file
	walk(t, func(path, text string) { list = append(list, parse(t, path, text)) }, ".go")
	if len(list) < 50 {
		t.Fatalf("only %d Go files found", len(list))
	}
	return list
}

// wantFaults checks that a rule finds what it should in a text.
func wantFaults(t *testing.T, name string, got []string, want int) {
	t.Helper()
	if len(got) != want {
		t.Errorf("%s: got %d faults %q, want %d", name, len(got), got, want)
	}
}

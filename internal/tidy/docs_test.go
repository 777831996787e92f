package tidy

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docFaults finds exported names without a comment that begins with the name.
func docFaults(f *file) (faults []string) {
	if f.isTest() || f.ast.Name.Name == "main" {
		return nil
	}
	check := func(name *ast.Ident, doc *ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		if doc == nil || !strings.HasPrefix(doc.Text(), name.Name) {
			faults = append(faults, fmt.Sprintf("%s:%d: comment of %s", f.path, f.line(name.Pos()), name.Name))
		}
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					doc := s.Doc
					if doc == nil {
						doc = d.Doc
					}
					check(s.Name, doc)
				case *ast.ValueSpec: // one comment may stand for a whole group
					if d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
						check(s.Names[0], nil)
					}
				}
			}
		}
	}
	return faults
}

func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// TestDocs: every package and every exported name is documented.
func TestDocs(t *testing.T) {
	packages := make(map[string]bool)
	for _, f := range goFiles(t) {
		if !f.isTest() {
			packages[f.pkg()] = packages[f.pkg()] || f.ast.Doc != nil
		}
		for _, fault := range docFaults(f) {
			t.Error(fault)
		}
	}
	for pkg, documented := range packages {
		if !documented {
			t.Errorf("%s: no package comment", pkg)
		}
	}
}

// TestDocRule: the rule notices what it is there for.
func TestDocRule(t *testing.T) {
	for text, faults := range map[string]int{
		"// F does.\nfunc F() {}":                        0,
		"func F() {}":                                    1,
		"// Does.\nfunc F() {}":                          1,
		"type T int":                                     1,
		"type t int\nfunc (t) F() {}":                    0,
		"// T is.\ntype T int\nfunc (T) F() {}":          1,
		"const C = 1":                                    1,
		"// The values.\nconst (\n\tC = 1\n\tD = 2\n)\n": 0,
	} {
		wantFaults(t, text, docFaults(parse(t, "a.go", "package a\n"+text)), faults)
	}
}

// TestDependencies: each module that the code imports has its line in docs/dependencies.md, and the other way round.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(\S+) v`).FindAllStringSubmatch(string(mod), -1) {
		modules = append(modules, m[1])
	}
	used := make(map[string]bool)
	for _, f := range goFiles(t) {
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range modules {
				if (path == m || strings.HasPrefix(path, m+"/")) && f.pkg() != "benchmarks" {
					used[m] = true
				}
			}
		}
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(doc), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if got := slices.Sorted(maps.Keys(used)); !slices.Equal(got, listed) {
		t.Errorf("imported: %v\nlisted:   %v", got, listed)
	}
}

// TestLinks: links within the repository lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	found := 0
	walk(t, func(path, text string) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", path, m[1], err)
			}
		}
	}, ".md")
	if found == 0 {
		t.Error("no links found: the rule does nothing")
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// variable is the environment variable that chooses the mutant of a combined build.
const variable = "EXPEDITE_MUTANT"

// combined is a package in one build that contains many mutants. Each is behind a condition, so that a build for each
// mutant, which takes longer than most tests, is not needed.
type combined struct {
	fset  *token.FileSet
	info  *types.Info
	texts map[string]string   // by file: its text with the conditions
	of    []mutant            // the mutants of the build; the number of the first is 1
	never []mutant            // mutants that do not compile: the only operator that makes strings is +
	list  map[string][]mutant // all mutants by file
}

// listedPackage is what `go list` says of a package.
type listedPackage struct {
	ImportPath string
	Export     string
	Name       string
	GoFiles    []string
	DepOnly    bool
}

// combine puts as many of the mutants as possible into one package: those in expressions that are not constants.
// The result has no mutants of other expressions; they need builds of their own.
func combine(ctx context.Context, folder string, list []mutant) (*combined, string, error) {
	pkg, exports, err := listPackage(ctx, folder)
	if err != nil {
		return nil, "", err
	}
	c := &combined{fset: token.NewFileSet(), texts: map[string]string{}, list: map[string][]mutant{}}
	for _, m := range list {
		c.list[m.file] = append(c.list[m.file], m)
	}
	var files []*ast.File
	var names []string
	for _, name := range pkg.GoFiles {
		name = filepath.ToSlash(filepath.Join(folder, name))
		f, err := parser.ParseFile(c.fset, name, nil, 0)
		if err != nil {
			return nil, "", err
		}
		files, names = append(files, f), append(names, name)
	}
	c.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if _, err := conf.Check(pkg.ImportPath, c.fset, files, c.info); err != nil {
		return nil, "", err
	}
	for i, f := range files {
		if len(c.list[names[i]]) == 0 {
			continue
		}
		text, err := os.ReadFile(names[i])
		if err != nil {
			return nil, "", err
		}
		e := &editor{combined: c, name: names[i], text: string(text)}
		c.texts[names[i]] = e.rewrite(f)
	}
	return c, pkg.Name, nil
}

func listPackage(ctx context.Context, folder string) (listedPackage, map[string]string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-export", "-deps",
		"-json=ImportPath,Export,Name,GoFiles,DepOnly", "./"+folder).Output()
	if err != nil {
		return listedPackage{}, nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := d.Decode(&p); err != nil {
			return p, nil, fmt.Errorf("go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			return p, exports, nil
		}
	}
}

// overlay writes the files of the build, and the file that names them for the flag -overlay. Base is the beginning of
// their names.
func (c *combined) overlay(folder, pkg, base string) (string, error) {
	replace := map[string]string{}
	add := func(name, text string) error {
		full, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		to := fmt.Sprintf("%s.%d.go", base, len(replace))
		replace[full] = to
		return os.WriteFile(to, []byte(text), 0o600)
	}
	errs := []error{add(filepath.Join(folder, "zz_mutants.go"), fmt.Sprintf(support, pkg, variable))}
	for name, text := range c.texts {
		errs = append(errs, add(name, text))
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	errs = append(errs, err, os.WriteFile(base+".json", b, 0o600))
	return base + ".json", errors.Join(errs...)
}

// support is a file that every combined build has.
const support = `package %s

import (
	"os"
	"strconv"
)

var mutantNumber, _ = strconv.Atoi(os.Getenv(%q))

func mutantOr[T any](n int, mutant, original T) T {
	if n == mutantNumber {
		return mutant
	}
	return original
}
`

// editor writes the conditions into one file.
type editor struct {
	*combined
	name string
	text string
}

// edit replaces a part of the text.
type edit struct {
	from, to int
	text     string
}

func (e *editor) at(p token.Pos) int { return e.fset.Position(p).Offset }

func (e *editor) rewrite(f *ast.File) string { return e.node(f) }

// node returns the text of a node with the conditions in it.
func (e *editor) node(n ast.Node) string {
	from, to := e.at(n.Pos()), e.at(n.End())
	if _, ok := n.(*ast.File); ok {
		from, to = 0, len(e.text)
	}
	var edits []edit
	ast.Inspect(n, func(child ast.Node) bool {
		switch x := child.(type) {
		case *ast.GenDecl:
			return x.Tok != token.CONST
		case *ast.ArrayType:
			return false
		case *ast.BinaryExpr:
			if text, ok := e.binary(x); ok {
				edits = append(edits, edit{e.at(x.Pos()), e.at(x.End()), text})
				return false
			}
		case *ast.IncDecStmt:
			if text, ok := e.step(x); ok {
				edits = append(edits, edit{e.at(x.Pos()), e.at(x.End()), text})
				return false
			}
		}
		return true
	})
	var b strings.Builder
	for _, d := range edits {
		b.WriteString(e.text[from:d.from] + d.text)
		from = d.to
	}
	return b.String() + e.text[from:to]
}

// original returns the text of a node.
func (e *editor) original(n ast.Node) string { return e.text[e.at(n.Pos()):e.at(n.End())] }

// mutants returns the mutants of an operator.
func (e *editor) mutants(op token.Pos) (list []mutant) {
	for _, m := range e.list[e.name] {
		if m.offset == e.at(op) {
			list = append(list, m)
		}
	}
	return list
}

// numbered returns the mutants of an operator with their numbers, which begin at 1.
func (e *editor) numbered(op token.Pos) (list []mutant, first int) {
	list = e.mutants(op)
	first = len(e.of) + 1
	e.of = append(e.of, list...)
	return list, first
}

// binary returns the text for an operator. The mutants have the original operands: only one is chosen at a time.
func (e *editor) binary(x *ast.BinaryExpr) (string, bool) {
	tv := e.info.Types[x]
	if x.Op == token.ADD && isString(tv.Type) {
		e.never = append(e.never, e.mutants(x.OpPos)...)
		return "", false
	}
	if tv.Value != nil || tv.Type == nil {
		return "", false
	}
	basic, ok := tv.Type.(*types.Basic)
	if !ok {
		return "", false
	}
	left, right := e.original(x.X), e.original(x.Y)
	switch {
	case basic.Kind() == types.Bool || basic.Kind() == types.UntypedBool:
		list, first := e.numbered(x.OpPos)
		if len(list) == 0 {
			return "", false
		}
		var b strings.Builder
		b.WriteString("func() bool { switch mutantNumber { ")
		for i, m := range list {
			fmt.Fprintf(&b, "case %d: return %s %s %s; ", first+i, left, m.to, right)
		}
		fmt.Fprintf(&b, "}; return %s %s %s }()", e.node(x.X), x.Op, e.node(x.Y))
		return b.String(), true
	case basic.Info()&types.IsNumeric != 0 && x.Op != token.QUO && !calls(x):
		if x.Op == token.MUL { // a division by 0 must not be evaluated
			return "", false
		}
		list, first := e.numbered(x.OpPos)
		if len(list) == 0 {
			return "", false
		}
		text := fmt.Sprintf("(%s %s %s)", e.node(x.X), x.Op, e.node(x.Y))
		for i, m := range list {
			// With its type: the one of a shift of a constant depends on what is around it.
			text = fmt.Sprintf("mutantOr[%s](%d, %s %s %s, %s)", basic, first+i, left, m.to, right, text)
		}
		return text, true
	}
	return "", false
}

func isString(t types.Type) bool {
	if t == nil {
		return false
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsString != 0
}

// step returns the text for ++ or --.
func (e *editor) step(x *ast.IncDecStmt) (string, bool) {
	list, first := e.numbered(x.TokPos)
	if len(list) != 1 {
		return "", false
	}
	v := e.original(x.X)
	return fmt.Sprintf("func() { if mutantNumber == %d { %s%s } else { %s%s } }()", first, v, list[0].to, v, x.Tok), true
}

// harmless are functions and conversions that may be evaluated twice.
var harmless = []string{"len", "cap", "int", "int64", "uint32", "uint64", "byte"}

// calls reports whether an expression has a call, which must not be evaluated twice.
func calls(x ast.Expr) (found bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			found = found || !ok || !slices.Contains(harmless, id.Name)
		case *ast.UnaryExpr:
			found = found || n.Op == token.ARROW
		}
		return !found
	})
	return found
}

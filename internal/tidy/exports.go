package tidy

import (
	"cmp"
	"errors"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Exports counts the exported names that `go doc -all` shows for one package on Linux.
type Exports struct {
	Package string // the folder, with slashes; "." is the root

	Consts, Vars, Funcs, Types, Methods int // Funcs includes constructors; Methods are declared on concrete types
	InterfaceMethods, Fields            int // parts of a type's declaration
}

// Names returns the number of exported names, without interface methods and struct fields. By this definition, commit
// 4c2d7fa exports 671 names, of which 21 are in the two conformance suites: the "about 650 names" of issue 16.
func (e Exports) Names() int { return e.Consts + e.Vars + e.Funcs + e.Types + e.Methods }

// CountExports returns the counts of all public packages below root, sorted by folder. A package is public if other
// modules can import it: commands, examples, benchmarks and everything below a folder named internal are not.
func CountExports(root string) ([]Exports, error) {
	var list []Exports
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch name := d.Name(); {
		case dir != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")),
			name == "internal", name == "testdata", name == "examples", name == "benchmarks":
			return fs.SkipDir
		}
		e, public, err := countPackage(dir)
		if err != nil || !public {
			return err
		}
		rel, err := filepath.Rel(root, dir)
		e.Package = filepath.ToSlash(rel)
		list = append(list, e)
		return err
	})
	slices.SortFunc(list, func(a, b Exports) int { return cmp.Compare(a.Package, b.Package) })
	return list, err
}

// countPackage returns the counts of the package in dir, and whether dir holds a package that can be imported.
func countPackage(dir string) (e Exports, public bool, err error) {
	platform := build.Default
	platform.GOOS, platform.GOARCH, platform.CgoEnabled = "linux", "amd64", false
	pkg, err := platform.ImportDir(dir, 0)
	if _, none := errors.AsType[*build.NoGoError](err); none {
		return e, false, nil
	}
	if err != nil || pkg.IsCommand() {
		return e, false, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			return e, true, err
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, pkg.Name)
	if err != nil {
		return e, true, err
	}
	e.Consts, e.Vars, e.Funcs = countValues(p.Consts), countValues(p.Vars), len(p.Funcs)
	for _, t := range p.Types {
		e.Types++
		e.Consts += countValues(t.Consts)
		e.Vars += countValues(t.Vars)
		e.Funcs += len(t.Funcs)
		e.Methods += len(t.Methods)
		for _, spec := range t.Decl.Specs {
			switch x := spec.(*ast.TypeSpec).Type.(type) {
			case *ast.StructType:
				e.Fields += countFields(x.Fields)
			case *ast.InterfaceType:
				e.InterfaceMethods += countFields(x.Methods)
			}
		}
	}
	return e, true, nil
}

func countValues(values []*doc.Value) (n int) {
	for _, v := range values {
		for _, name := range v.Names {
			if ast.IsExported(name) {
				n++
			}
		}
	}
	return n
}

// countFields counts exported names in a struct or interface. Embedded types have no name of their own.
func countFields(fields *ast.FieldList) (n int) {
	for _, f := range fields.List {
		for _, name := range f.Names {
			if name.IsExported() {
				n++
			}
		}
	}
	return n
}

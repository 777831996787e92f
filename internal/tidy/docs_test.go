package tidy

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// packageDocFaults finds packages without a package comment, and package comments that do not begin as go doc expects.
func packageDocFaults(files []*file) (faults []fault) {
	documented, first := false, (*file)(nil)
	for _, f := range files {
		if f.isTest() {
			continue
		}
		if first == nil {
			first = f
		}
		if f.ast.Doc == nil {
			continue
		}
		documented = true
		begin := "Package " + f.ast.Name.Name
		if f.ast.Name.Name == "main" {
			begin = "Command "
		}
		if !strings.HasPrefix(f.ast.Doc.Text(), begin) {
			faults = append(faults, f.fault(f.ast.Doc.Pos(), "package", "the comment does not begin with "+begin))
		}
	}
	if first != nil && !documented {
		faults = append(faults, fault{first.path, 1, "package", "no package comment"})
	}
	return faults
}

// docFaults finds exported names without a comment that begins with the name. Methods of unexported types are exempt:
// they implement interfaces, which document them.
func docFaults(f *file) (faults []fault) {
	if f.isTest() || f.ast.Name.Name == "main" {
		return nil
	}
	check := func(name *ast.Ident, doc *ast.CommentGroup) {
		if name.IsExported() && !beginsWith(doc, name.Name) {
			faults = append(faults, f.fault(name.Pos(), "comment", "none that begins with "+name.Name))
		}
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					check(s.Name, either(s.Doc, d))
				case *ast.ValueSpec:
					if s.Doc == nil && d.Lparen.IsValid() && (d.Doc != nil || s.Comment != nil) {
						continue // one comment for a group of values, or one after each
					}
					check(s.Names[0], either(s.Doc, d))
				}
			}
		}
	}
	return faults
}

// either returns the comment of a spec, or that of its declaration if the declaration is not a group.
func either(doc *ast.CommentGroup, d *ast.GenDecl) *ast.CommentGroup {
	if doc == nil && !d.Lparen.IsValid() {
		return d.Doc
	}
	return doc
}

func beginsWith(doc *ast.CommentGroup, name string) bool {
	return doc != nil && regexp.MustCompile(`^`+name+`\b`).MatchString(doc.Text())
}

// receiver returns the type name of a method's receiver, without pointer and type parameters.
func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	default:
		return ""
	}
}

// TestDocRules checks that the rules about comments find violations.
func TestDocRules(t *testing.T) {
	for text, want := range map[string]string{
		"// F does.\nfunc F() {}":                               "",
		"func F() {}":                                           "comment",
		"// Does.\nfunc F() {}":                                 "comment",
		"// Fast does.\nfunc F() {}":                            "comment",
		"func f() {}":                                           "",
		"type T int":                                            "comment",
		"type t int\nfunc (t) F() {}":                           "",
		"// T is.\ntype T int\nfunc (T) F() {}":                 "comment",
		"// T is.\ntype T int\nfunc (*T) F() {}":                "comment",
		"// T is.\ntype T[K any] int\nfunc (*T[K]) F() {}":      "comment",
		"// T is.\ntype T[K, V any] int\nfunc (T[K, V]) F() {}": "comment",
		"// All.\ntype (\n\tT int\n)":                           "comment",
		"const C = 1":                                           "comment",
		"// The value.\nconst C = 1":                            "comment",
		"// C is.\nconst C = 1":                                 "",
		"// The values.\nconst (\n\tC = 1\n\tD = 2\n)\n":        "",
		"const (\n\tC = 1 // C is.\n)\n":                        "",
		"const (\n\tC = 1\n)\n":                                 "comment",
	} {
		wantRule(t, text, docFaults(parse(t, "a.go", "package a\n"+text)), want)
	}
	for text, want := range map[string]string{
		"// Package a is.\npackage a":      "",
		"// Command a does.\npackage main": "",
		"package a":                        "package",
		"// a is.\npackage a":              "package",
		"// Package a.\n\npackage a":       "package",
	} {
		wantRule(t, text, packageDocFaults([]*file{parse(t, "a.go", text)}), want)
	}
}

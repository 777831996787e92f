package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// initFaults finds init functions: programs cannot prevent code that runs before main.
func initFaults(f *file) (faults []fault) {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
			faults = append(faults, f.fault(fn.Pos(), "init", "init function"))
		}
	}
	return faults
}

// sleepFaults finds tests that sleep, whether they call the function or pass it on.
func sleepFaults(f *file) (faults []fault) {
	if !f.isTest() {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && selects(s, "time", "Sleep") {
			faults = append(faults, f.fault(n.Pos(), "sleep", "a test that sleeps"))
		}
		return true
	})
	return faults
}

// stateFaults finds mutable package variables, which two servers in one process would share. Tests may have them.
func stateFaults(files []*file) (faults []fault) {
	names := make(map[string]bool)
	files = slices.DeleteFunc(slices.Clone(files), (*file).isTest)
	for _, f := range files {
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				embedded := isEmbed(v.Doc) || (isEmbed(g.Doc) && len(g.Specs) == 1)
				for i, name := range v.Names {
					names[name.Name] = name.Name != "_"
					if name.Name == "_" || embedded || (i < len(v.Values) && isReadOnly(name.Name, v.Values[i])) {
						continue
					}
					faults = append(faults, f.fault(name.Pos(), "state", "package-level variable "+name.Name))
				}
			}
		}
	}
	for _, f := range files {
		for _, id := range written(f.ast) {
			if names[id.Name] {
				faults = append(faults, f.fault(id.Pos(), "state", "package-level variable "+id.Name+" is written"))
			}
		}
	}
	return faults
}

func isEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// errorName matches the names of variables that hold errors.
var errorName = regexp.MustCompile(`^(err|Err)[A-Z]`)

// isReadOnly reports whether an initial value is of a kind that is never modified: an error, a regular expression, or a
// table.
func isReadOnly(name string, e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit: // slices, arrays and maps; a struct may be a lock or a pool
		switch e.Type.(type) {
		case *ast.ArrayType, *ast.MapType:
			return true
		}
	case *ast.UnaryExpr: // an error of a type of this module
		_, ok := e.X.(*ast.CompositeLit)
		return ok && e.Op == token.AND && errorName.MatchString(name)
	case *ast.CallExpr:
		return selects(e.Fun, "errors", "New") || selects(e.Fun, "fmt", "Errorf") ||
			selects(e.Fun, "regexp", "MustCompile")
	}
	return false
}

// selects reports whether an expression is pkg.name.
func selects(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// written returns the variables that a file assigns to, in whole or in part, or takes the address of. It compares names
// only: a local variable with the name of a package variable counts as well.
func written(tree *ast.File) (list []*ast.Ident) {
	add := func(targets ...ast.Expr) {
		for _, e := range targets {
			if id := base(e); id != nil {
				list = append(list, id)
			}
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				add(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				add(n.Key, n.Value)
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				add(n.X)
			}
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			if ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear" || id.Name == "copy") {
				add(n.Args[0])
			}
		}
		return true
	})
	return list
}

// base returns the variable that an expression refers into, or nil.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// TestStateRules checks that the rules about state, init and sleeping find violations.
func TestStateRules(t *testing.T) {
	for _, tt := range []struct {
		path, text string
		want       string // the rule, or empty
	}{
		{"a.go", `var ErrGone = errors.New("a: gone")`, ""},
		{"a.go", `var errGone = &goneError{1}`, ""},
		{"a.go", `var word = regexp.MustCompile("a")`, ""},
		{"a.go", `var table = map[string]int{}`, ""},
		{"a.go", `var table = [...]string{"a"}; func f() { for table := range 3 { _ = table } }`, ""},
		{"a.go", `var _ fmt.Stringer = T(0)`, ""},
		{"a.go", "//go:embed page.html\nvar page []byte", ""},
		{"a.go", "//go:embed page.html\nvar page []byte\n\n// pages counts.\nvar pages int", "state"},
		{"a.go", `var count int`, "state"},
		{"a.go", `var limit = 5`, "state"},
		{"a.go", `var ErrGone error`, "state"},
		{"a.go", `var queue = list.New()`, "state"},
		{"a.go", `var pool sync.Pool`, "state"},
		{"a.go", `var pool = sync.Pool{}`, "state"},
		{"a.go", `var shared = &server{}`, "state"},
		{"a.go", `var table = map[string]int{}; func f() { table["a"] = 1 }`, "state"},
		{"a.go", `var table = map[string]int{}; func f() { delete(table, "a") }`, "state"},
		{"a.go", `var table = []int{1}; func f() { table[0]++ }`, "state"},
		{"a.go", `var table = []int{1}; func f() *int { return &table[0] }`, "state"},
		{"a.go", `var ErrGone = errors.New("a: gone"); func f() { ErrGone = nil }`, "state"},
		{"a_test.go", `var update = flag.Bool("update", false, "")`, ""},
		{"a.go", `func init() {}`, "init"},
		{"a_test.go", `func init() {}`, "init"},
		{"a.go", `func (t T) init() {}`, ""},
		{"a_test.go", `func f() { time.Sleep(1) }`, "sleep"},
		{"a_test.go", `var wait = time.Sleep`, "sleep"},
		{"a.go", `func f() { time.Sleep(1) }`, ""},
	} {
		f := parse(t, tt.path, "package a\n"+tt.text+"\n")
		faults := slices.Concat(stateFaults([]*file{f}), initFaults(f), sleepFaults(f))
		wantRule(t, fmt.Sprintf("%s %q", tt.path, tt.text), faults, tt.want)
	}
}

package tidy

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Trip-wires: beyond them, look whether a thing should be two.
const (
	maxFileLines     = 500
	maxFunctionLines = 70
	maxLineColumns   = 120 // a tab is one
	maxParameters    = 5
)

// allowed are exceptions with their reason.
var allowed = map[string]string{
	"internal/reactor/clock_linux.go": "epoch is read once at the start and never changed",
	"internal/reactor/clock_other.go": "epoch is read once at the start and never changed",
}

// machinePath is a path that only some machine has.
var machinePath = regexp.MustCompile(`(^|[\s"'(=])/(work|home|root)/`)

func shapeFaults(f *file) (faults []string) {
	add := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s:%d: %s", f.path, line, fmt.Sprintf(format, args...)))
	}
	lines := strings.Split(strings.TrimSuffix(f.text, "\n"), "\n")
	if len(lines) > maxFileLines {
		add(1, "%d lines, the trip-wire is %d", len(lines), maxFileLines)
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > maxLineColumns && !f.isTest() {
			add(i+1, "%d columns, the trip-wire is %d", n, maxLineColumns)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if from, to := f.line(n.Pos()), f.line(n.End()); to-from+1 > maxFunctionLines && !f.isTest() {
				add(from, "function %s has %d lines, the trip-wire is %d", n.Name.Name, to-from+1, maxFunctionLines)
			}
			if n.Name.Name == "init" && n.Recv == nil {
				add(f.line(n.Pos()), "init function")
			}
		case *ast.FuncType:
			if n.Params.NumFields() > maxParameters && !f.isTest() {
				add(f.line(n.Pos()), "%d parameters, the trip-wire is %d", n.Params.NumFields(), maxParameters)
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && f.isTest() && s.Sel.Name == "Sleep" {
				add(f.line(n.Pos()), "a test that sleeps")
			}
		}
		return true
	})
	return faults
}

// globalFaults finds state that a package keeps for itself: two servers in one process would share it.
func globalFaults(f *file) (faults []string) {
	if f.isTest() {
		return nil
	}
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok.String() != "var" {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			embedded := g.Doc != nil && strings.Contains(f.text[:g.Pos()], "//go:embed")
			for i, name := range v.Names {
				if name.Name == "_" || embedded || (i < len(v.Values) && isConstant(v.Values[i])) {
					continue
				}
				faults = append(faults, fmt.Sprintf("%s:%d: package-level variable %s", f.path, f.line(v.Pos()), name.Name))
			}
		}
	}
	return faults
}

// isConstant says whether an initial value is one of those that nobody changes: errors, expressions, tables.
func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit, *ast.BasicLit:
		return true
	case *ast.UnaryExpr:
		return isConstant(e.X)
	case *ast.CallExpr:
		s, ok := e.Fun.(*ast.SelectorExpr)
		return ok && (s.Sel.Name == "New" || s.Sel.Name == "MustCompile" || s.Sel.Name == "Errorf")
	default:
		return false
	}
}

// TestShape: files, functions, lines and parameter lists stay within the trip-wires, and no package keeps state.
func TestShape(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, fault := range append(shapeFaults(f), globalFaults(f)...) {
			if _, ok := allowed[strings.SplitN(fault, ":", 2)[0]]; !ok {
				t.Error(fault)
			}
		}
	}
}

// TestShapeRule: the rules notice what they are there for.
func TestShapeRule(t *testing.T) {
	long := "func f() {\n" + strings.Repeat("\t_ = 1\n", 80) + "}\n"
	for _, tt := range []struct {
		path, text string
		faults     int
	}{
		{"a.go", "func f() {}\n", 0},
		{"a.go", long, 1},
		{"a.go", strings.Repeat("\n", 600), 1},
		{"a.go", "// " + strings.Repeat("x", 120) + "\n", 1},
		{"a.go", "func f(a, b, c, d, e, f int) {}\n", 1},
		{"a.go", "func init() {}\n", 1},
		{"a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }\n", 1},
		{"a.go", "var count int\n", 1},
		{"a.go", "var table = map[string]int{}\nvar _ = 1\n", 0},
		{"a.go", "import \"sync\"\nvar pool sync.Pool\n", 1},
	} {
		f := parse(t, tt.path, "package a\n"+tt.text)
		wantFaults(t, fmt.Sprintf("%.40q", tt.text), append(shapeFaults(f), globalFaults(f)...), tt.faults)
	}
}

// TestText: no file names a path of some machine, or leaves work for later.
func TestText(t *testing.T) {
	later := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	walk(t, func(path, text string) {
		for i, line := range strings.Split(text, "\n") {
			if machinePath.MatchString(line) {
				t.Errorf("%s:%d names a path of a machine: %s", path, i+1, line)
			}
			if later.MatchString(line) {
				t.Errorf("%s:%d leaves something for later: %s", path, i+1, line)
			}
		}
	}, ".go", ".md", "Makefile", "run", "test-tools", ".yaml", ".html", ".mjs", ".py")
	if !machinePath.MatchString(`see "/ho`+`me/alice/x"`) || machinePath.MatchString("https://host/homework/") {
		t.Error("the rule about paths does not do what it is there for")
	}
}

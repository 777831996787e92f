package tidy

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
	"unicode/utf8"
)

// Limits that prompt a second look: should a thing be two? Test files have to observe the length of files only, because
// their tables are long and wide.
const (
	maxFileLines     = 500
	maxFunctionLines = 70
	maxLineColumns   = 120 // a tab counts as one
	maxParameters    = 5
)

func shapeFaults(f *file) (faults []fault) {
	lines := strings.Split(strings.TrimSuffix(f.text, "\n"), "\n")
	if len(lines) > maxFileLines {
		detail := fmt.Sprintf("%d lines, the trip-wire is %d", len(lines), maxFileLines)
		faults = append(faults, fault{f.path, 1, "lines", detail})
	}
	if f.isTest() {
		return faults
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > maxLineColumns {
			detail := fmt.Sprintf("%d columns, the trip-wire is %d", n, maxLineColumns)
			faults = append(faults, fault{f.path, i + 1, "columns", detail})
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if got := f.line(n.End()) - f.line(n.Pos()) + 1; got > maxFunctionLines {
				detail := fmt.Sprintf("%s has %d lines, the trip-wire is %d", n.Name.Name, got, maxFunctionLines)
				faults = append(faults, f.fault(n.Pos(), "function", detail))
			}
		case *ast.FuncType:
			if got := n.Params.NumFields(); got > maxParameters {
				detail := fmt.Sprintf("%d parameters, the trip-wire is %d", got, maxParameters)
				faults = append(faults, f.fault(n.Pos(), "parameters", detail))
			}
		}
		return true
	})
	return faults
}

// TestShapeRules checks that each limit applies, and not too early.
func TestShapeRules(t *testing.T) {
	function := func(lines int) string { return "func f() {\n" + strings.Repeat("\t_ = 1\n", lines-2) + "}\n" }
	for _, tt := range []struct {
		name, path, text string
		want             string // the rule, or empty
	}{
		{"file of 500 lines", "a.go", strings.Repeat("\n", 499), ""},
		{"file of 501 lines", "a.go", strings.Repeat("\n", 500), "lines"},
		{"test of 501 lines", "a_test.go", strings.Repeat("\n", 500), "lines"},
		{"function of 70 lines", "a.go", function(70), ""},
		{"function of 71 lines", "a.go", function(71), "function"},
		{"line of 120 columns", "a.go", "// " + strings.Repeat("ü", 117) + "\n", ""},
		{"line of 121 columns", "a.go", "// " + strings.Repeat("ü", 118) + "\n", "columns"},
		{"5 parameters", "a.go", "func f(a, b, c, d, e int) {}\n", ""},
		{"6 parameters", "a.go", "func f(a, b, c, d, e, f int) {}\n", "parameters"},
		{
			"6 parameters of a method that an interface asks for", "a.go",
			"type t interface{ m(a, b, c int, d, e, f string) }\n", "parameters",
		},
	} {
		wantRule(t, tt.name, shapeFaults(parse(t, tt.path, "package a\n"+tt.text)), tt.want)
	}
}

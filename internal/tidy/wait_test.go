package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// waitFaults finds loops of tests that wait for something and have no limit: they would wait until the time of all tests
// is over, and nobody could tell for what. Such a loop yields with runtime.Gosched, or has a condition that only reads
// counters, with methods called Load or Stats. It has a limit if it uses package time or a context, or can fail the test.
func waitFaults(f *file) (faults []fault) {
	if !f.isTest() {
		return nil
	}
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || strings.HasPrefix(fn.Name.Name, "Benchmark") {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			loop, ok := n.(*ast.ForStmt)
			if ok && waits(loop) && !has(loop, limits) {
				faults = append(faults, f.fault(loop.Pos(), "wait", "a loop that may wait for ever"))
			}
			return true
		})
	}
	return faults
}

// waits reports whether a loop waits for something.
func waits(loop *ast.ForStmt) bool {
	yields := has(loop.Body, isGosched) || loop.Post != nil && has(loop.Post, isGosched)
	if yields || loop.Init != nil || loop.Post != nil || loop.Cond == nil {
		return yields
	}
	if both, ok := loop.Cond.(*ast.BinaryExpr); ok && both.Op == token.LAND {
		return false // the other condition is the limit
	}
	return has(loop.Cond, isCounter)
}

func isGosched(s *ast.SelectorExpr) bool { return selects(s, "runtime", "Gosched") }

func isCounter(s *ast.SelectorExpr) bool { return s.Sel.Name == "Load" || s.Sel.Name == "Stats" }

// limits reports whether a selector is one of those that end a wait.
func limits(s *ast.SelectorExpr) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "time" || slices.Contains([]string{"Done", "Err", "Fatal", "Fatalf", "FailNow"}, s.Sel.Name)
}

// has reports whether a selector within n is one of those that is reports.
func has(n ast.Node, is func(*ast.SelectorExpr) bool) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		found = found || ok && is(s)
		return !found
	})
	return found
}

// TestWaitRule checks that the rule finds loops without a limit, and no others.
func TestWaitRule(t *testing.T) {
	for _, tt := range []struct{ path, text, want string }{
		{"a_test.go", `for n.Load() > 0 { runtime.Gosched() }`, "wait"},
		{"a_test.go", `for !ok() { runtime.Gosched() }`, "wait"},
		{"a_test.go", `for ; !ok(); runtime.Gosched() { }`, "wait"},
		{"a_test.go", `for { if ok() { return }; runtime.Gosched() }`, "wait"},
		{"a_test.go", `for l.Stats().Backoffs == 0 { do() }`, "wait"},
		{"a_test.go", `for l.Stats().Backoffs == 0 { }`, "wait"},
		{"a_test.go", `go func() { for n.Load() < 3 { do() } }()`, "wait"},
		{"a_test.go", `for end := time.Now().Add(patience); n.Load() > 0 && time.Now().Before(end); { }`, ""},
		{"a_test.go", `for n.Load() > 0 { select { case <-late: t.Fatal("late"); case <-tick.C: } }`, ""},
		{"a_test.go", `for n.Load() > 0 { if ctx.Err() != nil { return } }`, ""},
		{"a_test.go", `for n.Load() > 0 && i < 1000 { i++ }`, ""},
		{"a_test.go", `for range 100 { runtime.Gosched() }`, ""},
		{"a_test.go", `for p.fill() == nil { }`, ""},
		{"a.go", `for n.Load() > 0 { runtime.Gosched() }`, ""},
	} {
		f := parse(t, tt.path, "package a\nfunc f() {\n"+tt.text+"\n}\n")
		wantRule(t, fmt.Sprintf("%s %q", tt.path, tt.text), waitFaults(f), tt.want)
	}
	wantRule(t, "a benchmark", waitFaults(parse(t, "a_test.go", "package a\nfunc BenchmarkF(b *testing.B) { for n.Load() < 3 { } }\n")), "")
}

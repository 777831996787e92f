package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sampleText = `package sample

const limit = 2 * 3

type box[T any] struct{ n int }

func (b *box[T]) full(more int) bool {
	return b.n+more > limit && more != 0 // a comment
}

func (b *box[T]) add() { b.n++ }

func (b *box[T]) wait() {
	for more := make(chan int); b.n < 0; <-more {
	}
}

func (b *box[T]) low(of uint64) uint64 { return of & (1<<b.n - 1) }

type name string

func (n name) with(s string) name { return n + name("-" + s) }
`

const sampleTest = `package sample

import "testing"

func TestFull(t *testing.T) {
	b := &box[int]{n: 4}
	b.wait()
	if !b.full(3) || b.full(1) || b.full(0) {
		t.Error("full")
	}
	if b.add(); b.n != 5 {
		t.Error("add")
	}
	if b.low(0xff) != 0x1f {
		t.Error("low")
	}
}
`

// newModule makes a module with one package and changes to it.
func newModule(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n", "sample/a.go": sampleText, "sample/a_test.go": sampleTest,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mutants returns mutants of the sample, by the operator as it is the first in its line.
func mutants(t *testing.T) map[string]mutant {
	t.Helper()
	s, err := parseSource("sample/a.go", sampleText)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]mutant{}
	for _, m := range []struct {
		name, kind string
		line       int
		text       string // that begins with the operator
	}{
		{"constant", "ARITHMETIC_BASE", 3, "* 3"},
		{"sum", "ARITHMETIC_BASE", 8, "+more"},
		{"boundary", "CONDITIONALS_BOUNDARY", 8, "> limit"},
		{"negation", "CONDITIONALS_NEGATION", 8, "> limit"},
		{"logic", "INVERT_LOGICAL", 8, "&&"},
		{"step", "INCREMENT_DECREMENT", 11, "++"},
		{"deadlock", "CONDITIONALS_NEGATION", 14, "< 0"},
		{"untyped shift", "ARITHMETIC_BASE", 18, "- 1"},
		{"string", "ARITHMETIC_BASE", 22, "+ name"},
		{"string within", "ARITHMETIC_BASE", 22, "+ s"},
	} {
		line := strings.Split(sampleText, "\n")[m.line-1]
		mu, err := s.mutant(m.kind, m.line, strings.Index(line, m.text)+1)
		if err != nil {
			t.Fatal(err)
		}
		list[m.name] = mu
	}
	return list
}

func TestKeysNameThePlaceWithoutItsNumber(t *testing.T) {
	list := mutants(t)
	for name, want := range map[string]string{
		"constant": "sample/a.go -: const limit = 2 [* → /] 3",
		"sum":      "sample/a.go box.full: return b.n[+ → -]more > limit && more != 0 // a comment",
		"boundary": "sample/a.go box.full: return b.n+more [> → >=] limit && more != 0 // a comment",
		"negation": "sample/a.go box.full: return b.n+more [> → <=] limit && more != 0 // a comment",
	} {
		if got := list[name].key; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if _, err := mustSource(t).mutant("ARITHMETIC_BASE", 8, 2); err == nil {
		t.Error("a place without an operator was accepted")
	}
}

func mustSource(t *testing.T) *source {
	t.Helper()
	s, err := parseSource("sample/a.go", sampleText)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMutantsOfTwoKindsAreOneIfTheyAreTheSame(t *testing.T) {
	s, err := parseSource("a.go", "package a\n\nfunc f(a, b int) int { return a - b }\n")
	column := strings.Index("func f(a, b int) int { return a - b }", "-") + 1
	if err != nil {
		t.Fatal(err)
	}
	var list []mutant
	for _, kind := range []string{"INVERT_NEGATIVES", "ARITHMETIC_BASE"} {
		m, err := s.mutant(kind, 3, column)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	if got := unique(list); len(got) != 1 {
		t.Errorf("got %v, want one", got)
	}
}

func TestVerdicts(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a package many times")
	}
	newModule(t)
	list := mutants(t)
	var all []mutant
	for _, m := range list {
		all = append(all, m)
	}
	ctx := context.Background()
	s, err := newSuite(ctx, "sample", nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.unchanged = usage{} // as for a package whose tests take no time: the limits are the least ones
	want := map[string]verdict{
		"constant": killed, "sum": killed, "boundary": survived, "negation": killed, "logic": killed, "step": killed,
		"deadlock": hung, "untyped shift": killed, "string": unviable, "string within": unviable,
	}
	for _, together := range []bool{false, true} {
		if together {
			if err := s.combine(ctx, all); err != nil {
				t.Fatal(err)
			}
			if _, ok := s.numbers[list["constant"]]; ok || len(s.numbers) != len(all)-3 {
				t.Errorf("%d of %d mutants are in one build, want all but the constant and the strings", len(s.numbers), len(all))
			}
			if len(s.never) != 2 {
				t.Errorf("got %v as what does not compile, want the strings", s.never)
			}
		}
		for name, m := range list {
			if name == "deadlock" && (together || !watches()) {
				continue // it takes long
			}
			v, out, err := s.try(ctx, m, 0)
			if err != nil || v != want[name] {
				t.Errorf("%s, together %v: got %d, %v, want %d: %s", name, together, v, err, want[name], out)
			}
		}
	}
}

func TestExcusesHaveReasons(t *testing.T) {
	e, err := parseExcuses("x", "# about\n\na.go f: [< → <=]\n\tfirst\n\tsecond\nb.go g: x\n\ty\n")
	if err != nil || len(e) != 2 || e["a.go f: [< → <=]"] != "first second" {
		t.Errorf("got %q, %v", e, err)
	}
	for name, text := range map[string]string{
		"no reason": "a.go f: x\n", "no reason before the next": "a.go f: x\nb.go g: x\n\ty\n",
		"no mutant": "\treason\n", "twice": "a.go f: x\n\ty\na.go f: x\n\tz\n",
	} {
		if _, err := parseExcuses("x", text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestExcusesGoStaleWithTheirMutant(t *testing.T) {
	e := excuses{"a.go f: x": "r", "a.go g: x": "r", "b.go f: x": "r"}
	got := e.stale([]mutant{{file: "a.go", key: "a.go f: x"}})
	if want := []string{"a.go g: x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: b.go was not tested", got, want)
	}
}

func TestTheFileOfExcusesNamesExistingFunctions(t *testing.T) {
	text, err := os.ReadFile("excused.txt")
	if err != nil {
		t.Fatal(err)
	}
	e, err := parseExcuses("excused.txt", string(text))
	if err != nil {
		t.Fatal(err)
	}
	for key := range e {
		file, _, _ := strings.Cut(key, " ")
		if _, err := os.Stat(filepath.Join("..", "..", file)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

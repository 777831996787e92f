package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// replacements maps each of gremlins' kinds of mutations to the operators that it replaces, and by what.
var replacements = map[string]map[string]string{
	"ARITHMETIC_BASE":       {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*"},
	"CONDITIONALS_BOUNDARY": {">=": ">", ">": ">=", "<=": "<", "<": "<="},
	"CONDITIONALS_NEGATION": {"==": "!=", "!=": "==", ">=": "<", "<": ">=", "<=": ">", ">": "<="},
	"INCREMENT_DECREMENT":   {"++": "--", "--": "++"},
	"INVERT_LOGICAL":        {"&&": "||", "||": "&&"},
	"INVERT_NEGATIVES":      {"-": "+"},
}

// mutant is one change of one operator.
type mutant struct {
	file     string // from the root of the module
	line     int
	offset   int // of the operator, in bytes
	from, to string
	key      string
}

// gremlinsReport is what gremlins writes with --output.
type gremlinsReport struct {
	Files []struct {
		Name      string `json:"file_name"`
		Mutations []struct {
			Kind   string `json:"type"`
			Line   int    `json:"line"`
			Column int    `json:"column"`
		} `json:"mutations"`
	} `json:"files"`
}

// listMutants asks gremlins for the mutants of the files in a folder. It does not include folders below.
func listMutants(ctx context.Context, gremlins, folder, temp string) ([]mutant, error) {
	out := filepath.Join(temp, "gremlins.json")
	cmd := exec.CommandContext(ctx, gremlins, "unleash", "--dry-run", "--silent", "--workers", "1",
		"--invert-logical", "--output", out, "./"+folder)
	// gremlins measures the coverage before it lists. Its figures are not used, so it runs no test.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -run=^$")
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gremlins: %w\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	var report gremlinsReport
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("report of gremlins: %w", err)
	}
	var list []mutant
	for _, f := range report.Files {
		if strings.Contains(f.Name, "/") {
			continue
		}
		name := filepath.ToSlash(filepath.Join(folder, f.Name))
		src, err := newSource(name)
		if err != nil {
			return nil, err
		}
		for _, m := range f.Mutations {
			mu, err := src.mutant(m.Kind, m.Line, m.Column)
			if err != nil {
				return nil, err
			}
			list = append(list, mu)
		}
	}
	return unique(list), nil
}

// unique sorts mutants by place and removes those that another kind of mutation has produced, too.
func unique(list []mutant) []mutant {
	slices.SortFunc(list, func(a, b mutant) int {
		if c := strings.Compare(a.file, b.file); c != 0 {
			return c
		}
		if a.offset != b.offset {
			return a.offset - b.offset
		}
		return strings.Compare(a.to, b.to)
	})
	return slices.Compact(list)
}

// source is a file to mutate.
type source struct {
	name  string
	text  string
	lines []int // offset of each line
	fset  *token.FileSet
	tree  *ast.File
}

func newSource(name string) (*source, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseSource(name, string(b))
}

func parseSource(name, text string) (*source, error) {
	s := &source{name: name, text: text, lines: []int{0}, fset: token.NewFileSet()}
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	tree, err := parser.ParseFile(s.fset, name, text, 0)
	if err != nil {
		return nil, err
	}
	s.tree = tree
	return s, nil
}

// mutant returns the mutant of a kind at a place. Line and column begin at 1, and the column counts bytes.
func (s *source) mutant(kind string, line, column int) (mutant, error) {
	if line < 1 || line > len(s.lines) {
		return mutant{}, fmt.Errorf("%s:%d: no such line", s.name, line)
	}
	offset := s.lines[line-1] + column - 1
	for _, n := range []int{2, 1} { // the longest operator first
		if offset < 0 || offset+n > len(s.text) {
			continue
		}
		from := s.text[offset : offset+n]
		if to, ok := replacements[kind][from]; ok {
			m := mutant{file: s.name, line: line, offset: offset, from: from, to: to}
			m.key = s.key(m)
			return m, nil
		}
	}
	return mutant{}, fmt.Errorf("%s:%d:%d: no operator for %s", s.name, line, column, kind)
}

// key names a mutant by file, function, and the text of its line, so that it stays the same when lines move.
func (s *source) key(m mutant) string {
	start, end := s.lines[m.line-1], len(s.text)
	if m.line < len(s.lines) {
		end = s.lines[m.line] - 1
	}
	before, after := s.text[start:m.offset], s.text[m.offset+len(m.from):end]
	return fmt.Sprintf("%s %s: %s[%s → %s]%s",
		m.file, s.function(m.offset), strings.TrimSpace(before)+space(before), m.from, m.to, strings.TrimRight(after, " \t"))
}

// space returns the blank that a text ends with.
func space(s string) string {
	if strings.TrimSpace(s) != "" && strings.HasSuffix(s, " ") {
		return " "
	}
	return ""
}

// function returns the name of the function around an offset, with its receiver, or "-".
func (s *source) function(offset int) string {
	for _, d := range s.tree.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || offset < s.fset.Position(f.Pos()).Offset || offset >= s.fset.Position(f.End()).Offset {
			continue
		}
		if f.Recv == nil || len(f.Recv.List) == 0 {
			return f.Name.Name
		}
		return receiver(f.Recv.List[0].Type) + "." + f.Name.Name
	}
	return "-"
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// apply returns the text of a file with the mutation.
func (m mutant) apply(text string) string {
	return text[:m.offset] + m.to + text[m.offset+len(m.from):]
}

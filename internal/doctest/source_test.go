package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// source is what pages may name: the code of the repository, without this package.
type source struct {
	text    string          // everything but pages
	tests   map[string]bool // names of tests, fuzz targets and benchmarks
	names   map[string]bool // exported: "expedite.Config", "Config.Addr", "Conn.Send"
	codes   map[int]bool    // close codes that have a name
	sent    map[int]string  // those that the server sends, with the file that does
	help    string          // of all commands
	metrics map[string]bool
}

// read is the source once it has been read.
var read *source

// readSource reads the repository and asks the program for its help, the first time that it is called.
func readSource(t *testing.T) *source {
	t.Helper()
	if read != nil {
		return read
	}
	s := &source{
		tests: map[string]bool{}, names: map[string]bool{}, codes: map[int]bool{}, sent: map[int]string{},
		metrics: map[string]bool{},
	}
	byName := make(map[string]int)
	s.walk(t, func(path, text string) {
		if strings.HasSuffix(path, ".md") {
			return
		}
		s.text += text
		if strings.HasSuffix(path, ".go") && !strings.HasPrefix(path, "benchmarks/") {
			s.readGo(t, path, text, byName)
		}
	})
	s.walk(t, func(path, text string) { // now that all codes have a value
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || notServer.MatchString(path) {
			return
		}
		for _, m := range useOfCode.FindAllStringSubmatch(text, -1) {
			if code := byName[m[1]]; code != 0 {
				s.sent[code] = path
			}
		}
	})
	s.help = helpOfAll(t)
	page, err := os.ReadFile(root + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(expedite_\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		s.metrics[m[1]] = true
	}
	read = s
	return s
}

var (
	testName  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	codeValue = regexp.MustCompile(`(?m)^(?:const|\t)\s*(C(?:lose|ode)\w+)\s*(?:(?:ws\.)?CloseCode\s*)?= (\d{4})$`)
	useOfCode = regexp.MustCompile(`\b(?:ws|access|registry|engine|expedite)?\.?(C(?:lose|ode)[A-Z]\w+)\b`)
	notServer = regexp.MustCompile(`^(ws/close\.go|internal/(conformance|loadtest|traffic)/|examples/|scripts/|benchmarks/|client/)`)
)

// walk calls visit with the files that people write, except those of this package.
func (s *source) walk(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		switch name := d.Name(); {
		case d.IsDir() && (name == ".git" || name == ".cache" || name == "node_modules" || rel == "internal/doctest"):
			return filepath.SkipDir
		case !d.Type().IsRegular(), name == "go.sum", name == ".git", strings.Contains(rel, "testdata/fuzz/"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), "\x00") {
			visit(rel, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *source) readGo(t *testing.T, path, text string, codes map[string]int) {
	t.Helper()
	if strings.HasSuffix(path, "_test.go") {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			s.tests[m[1]] = true
		}
		return
	}
	for _, m := range codeValue.FindAllStringSubmatch(text, -1) {
		code, _ := strconv.Atoi(m[2]) // four digits
		codes[m[1]], s.codes[code] = code, true
	}
	if strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "cmd/") || strings.Contains(path, "testdata/") {
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				s.names[f.Name.Name+"."+d.Name.Name] = true
				continue
			}
			s.names[typeName(d.Recv.List[0].Type)+"."+d.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				s.readSpec(f.Name.Name, spec)
			}
		}
	}
}

func (s *source) readSpec(pkg string, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			s.names[pkg+"."+name.Name] = true
		}
	case *ast.TypeSpec:
		s.names[pkg+"."+spec.Name.Name] = true
		s.names[spec.Name.Name] = spec.Name.IsExported()
		var fields *ast.FieldList
		switch x := spec.Type.(type) {
		case *ast.StructType:
			fields = x.Fields
		case *ast.InterfaceType:
			fields = x.Methods
		default:
			return
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				s.names[spec.Name.Name+"."+name.Name] = true
			}
			if len(field.Names) == 0 {
				s.names[spec.Name.Name+"."+typeName(field.Type)] = true
			}
		}
	}
}

// typeName returns the name of a type without pointer, package and parameters.
func typeName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return typeName(x.X)
	case *ast.IndexExpr:
		return typeName(x.X)
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.Ident:
		return x.Name
	}
	return ""
}

// helpOfAll returns the help of the program and of all its commands.
func helpOfAll(t *testing.T) string {
	t.Helper()
	all, ok := expedite(t, "--help")
	if !ok {
		t.Fatal(all)
	}
	_, list, _ := strings.Cut(all, "\nCommands:\n")
	for _, m := range regexp.MustCompile(`(?m)^  (\w[\w -]*?)(?:  .*)?$`).FindAllStringSubmatch(list, -1) {
		out, ok := expedite(t, append(strings.Fields(m[1]), "--help")...)
		if !ok {
			t.Fatalf("%s: %s", m[1], out)
		}
		all += out
	}
	return all
}

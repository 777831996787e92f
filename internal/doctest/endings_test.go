package doctest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// endings are the ways in which the server ends connections and refuses handshakes: "1013 too slow", "429 …".
type endings struct {
	strings map[string]string // constants of packages, by name
	locals  map[string]string // those of the function that is being read
	codes   map[string]int
	closes  map[string]string // with the file
	refused map[string]string
}

// ofServer matches the code that closes connections and refuses clients.
var ofServer = regexp.MustCompile(`^(ws|auth|internal/(access|engine|lobby|registry|worker))/[a-z_]+\.go$`)

// readEndings finds all endings whose reason is a constant. The reason of a kick is that of the operator.
func readEndings(t *testing.T) *endings {
	t.Helper()
	e := &endings{strings: map[string]string{}, codes: map[string]int{}, closes: map[string]string{}, refused: map[string]string{}}
	files := make(map[string]*ast.File)
	new(source).walk(t, func(path, text string) {
		if !ofServer.MatchString(path) || strings.HasSuffix(path, "_test.go") || path == "ws/client.go" {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = f
		for _, d := range f.Decls {
			if _, isFunc := d.(*ast.FuncDecl); !isFunc {
				e.constants(d, e.strings)
			}
		}
	})
	for path, f := range files {
		for _, d := range f.Decls {
			e.locals = make(map[string]string)
			e.constants(d, e.locals)
			ast.Inspect(d, func(n ast.Node) bool { return e.inspect(path, n) })
		}
	}
	return e
}

// constants reads the constants of a declaration.
func (e *endings) constants(d ast.Decl, texts map[string]string) {
	ast.Inspect(d, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, value := range spec.Values {
			if lit, ok := value.(*ast.BasicLit); ok {
				name := spec.Names[i].Name
				if n, err := strconv.Atoi(lit.Value); err == nil {
					e.codes[name] = n
				} else if s, err := strconv.Unquote(lit.Value); err == nil {
					texts[name] = s
				}
			}
		}
		return true
	})
}

// inspect notes the ending that a node is, and reports whether it may contain others.
func (e *endings) inspect(path string, n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		switch name := nameOf(n.Fun); {
		case (name == "beginClose" || name == "closeLocked") && len(n.Args) == 2:
			if end, ok := n.Args[0].(*ast.CompositeLit); ok { // the second argument is what is sent
				e.note(path, field(end, "code", 0), n.Args[1])
				return false
			}
		case name == "unavailable":
			e.refuse(path, http.StatusServiceUnavailable, n.Args[0])
		case name == "Refused" && len(n.Args) == 3:
			e.refuse(path, statuses[nameOf(n.Args[0])], n.Args[2])
		default:
			for i := 1; i < len(n.Args); i++ {
				e.note(path, n.Args[i-1], n.Args[i])
			}
		}
	case *ast.CompositeLit:
		switch nameOf(n.Type) {
		case "ending":
			e.note(path, field(n, "code", 0), field(n, "reason", 1))
		case "ProtocolError":
			e.note(path, field(n, "Code", 0), field(n, "Reason", 1))
		case "HandshakeError":
			e.refuse(path, statuses[nameOf(field(n, "Status", 0))], field(n, "Reason", 1))
		}
	}
	return true
}

// note notes a close code with its reason, if they are one.
func (e *endings) note(path string, code, reason ast.Expr) {
	if n := e.codes[nameOf(code)]; n >= 1000 && n < 5000 && reason != nil {
		if text, ok := e.text(reason); ok {
			e.closes[fmt.Sprint(n, " ", text)] = path
		}
	}
}

func (e *endings) refuse(path string, status int, reason ast.Expr) {
	if text, ok := e.text(reason); ok && status != 0 {
		e.refused[fmt.Sprint(status, " ", text)] = path
	}
}

func (e *endings) text(x ast.Expr) (string, bool) {
	if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, err := strconv.Unquote(lit.Value)
		return s, err == nil
	}
	if s, ok := e.locals[nameOf(x)]; ok {
		return s, true
	}
	s, ok := e.strings[nameOf(x)]
	return s, ok
}

// statuses are the names of HTTP statuses, in net/http and ws.
var statuses = map[string]int{
	"StatusBadRequest": 400, "statusBadRequest": 400, "StatusForbidden": 403, "StatusNotFound": 404,
	"statusMethodNotAllowed": 405, "StatusRequestTimeout": 408, "StatusUpgradeRequired": 426, "statusUpgradeRequired": 426,
	"StatusTooManyRequests": 429, "StatusRequestHeaderFieldsTooLarge": 431, "statusFieldsTooLarge": 431,
	"StatusInternalServerError": 500, "statusNotImplemented": 501, "StatusServiceUnavailable": 503, "statusVersion": 505,
}

// nameOf returns the last name of an identifier or a selector.
func nameOf(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.StarExpr:
		return nameOf(x.X)
	}
	return ""
}

// field returns the value of a field, by its name or place.
func field(lit *ast.CompositeLit, name string, i int) ast.Expr {
	for _, x := range lit.Elts {
		if kv, ok := x.(*ast.KeyValueExpr); ok && nameOf(kv.Key) == name {
			return kv.Value
		}
	}
	if i < len(lit.Elts) {
		if _, ok := lit.Elts[i].(*ast.KeyValueExpr); !ok {
			return lit.Elts[i]
		}
	}
	return nil
}

// rows returns "code reason" of the rows of a page's tables that begin with a number and a reason as code.
func rows(t *testing.T, path string, first, last int) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	row := regexp.MustCompile(`^\| (\d+) \|(.*?)\| `)
	for _, p := range pages(t) {
		if p.path != path {
			continue
		}
		for _, line := range p.lines {
			m := row.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if n, _ := strconv.Atoi(m[1]); n >= first && n <= last {
				for _, reason := range code.FindAllStringSubmatch(m[2], -1) {
					found[m[1]+" "+reason[1]] = true
				}
			}
		}
	}
	return found
}

const troubleshooting = "docs/troubleshooting.md"

// TestCloseReasons checks that the page on troubleshooting explains each close code and reason that the server sends,
// and no others.
func TestCloseReasons(t *testing.T) {
	e := readEndings(t)
	compare(t, e.closes, rows(t, troubleshooting, 1000, 4999))
	if len(e.closes) < 30 {
		t.Errorf("only %d were found", len(e.closes))
	}
}

// TestRefusals checks the same for refused handshakes. The many texts of malformed requests are one row.
func TestRefusals(t *testing.T) {
	e := readEndings(t)
	maps.DeleteFunc(e.refused, func(what, path string) bool { return strings.HasPrefix(path, "ws/") })
	compare(t, e.refused, rows(t, troubleshooting, 400, 599))
	if len(e.refused) < 12 {
		t.Errorf("only %d were found", len(e.refused))
	}
}

func compare(t *testing.T, sent map[string]string, explained map[string]bool) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(sent)) {
		if !explained[what] {
			t.Errorf("%s sends %q, and %s does not explain it", sent[what], what, troubleshooting)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(explained)) {
		if sent[what] == "" {
			t.Errorf("%s explains %q, which the server does not send", troubleshooting, what)
		}
	}
}

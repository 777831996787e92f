package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A program in a page is one of these:
//
//   - a file, if it begins with a package clause. It is compiled as it is;
//   - a fragment otherwise. Its declarations at the left edge become those of a package, which all fragments of the page
//     share, and its statements the body of a function. The fragment can use what given declares, and packages without
//     importing them. A variable that it declares and does not use is no fault.

// given declares what a fragment can use without declaring it.
const given = `
	ctx context.Context, app *expedite.App, mux *http.ServeMux, c *expedite.Conn, m expedite.Message, r *http.Request,
	t *testing.T, token string`

// library has the packages that a fragment can use without importing them.
func library() map[string]string {
	const own = "github.com/expedite-go/expedite"
	packages := map[string]string{
		"expedite": own, "http": "net/http", "slog": "log/slog", "json": "encoding/json", "signal": "os/signal",
		"httptest": "net/http/httptest",
	}
	for _, name := range []string{
		"auth", "backplane", "client", "cluster", "command", "expeditetest", "session", "ws",
	} {
		packages[name] = own + "/" + name
	}
	for _, name := range []string{"context", "errors", "fmt", "log", "os", "strings", "syscall", "testing", "time"} {
		packages[name] = name
	}
	return packages
}

var packageClause = regexp.MustCompile(`(?m)^package \w+$`)

// declaration matches the first line of what becomes a declaration of the package.
var declaration = regexp.MustCompile(`^(type |func \w|func \()`)

// split returns the declarations of a fragment and its statements. Both keep their lines.
func split(text string) (declarations, statements string) {
	inside := false
	for line := range strings.SplitAfterSeq(text, "\n") {
		switch {
		case inside, declaration.MatchString(line):
			declarations, statements = declarations+line, statements+"\n"
			inside = !strings.HasPrefix(line, "}") && (inside || strings.HasSuffix(line, "{\n"))
		default:
			declarations, statements = declarations+"\n", statements+line
		}
	}
	return declarations, statements
}

// wrap returns a fragment as a file of a package. Its text begins at the line that place names, so errors do, too.
func wrap(text, place string) (string, error) {
	declarations, statements := split(text)
	function := "func _(" + strings.ReplaceAll(given, "\n", "") + ") {\n{\n"
	file := "package page\n" + "//line " + place + "\n" + declarations + "\n" + function + "//line " + place + "\n" + statements
	tree, err := parser.ParseFile(token.NewFileSet(), "", file+"}\n}\n", 0)
	if err != nil {
		return "", err
	}
	for _, name := range declared(tree.Decls[len(tree.Decls)-1].(*ast.FuncDecl)) {
		file += "_ = " + name + "\n"
	}
	imports, packages := "", library()
	var used []string
	for _, name := range tree.Unresolved {
		if packages[name.Name] != "" && !slices.Contains(used, name.Name) {
			used = append(used, name.Name)
			imports += "import " + name.Name + ` "` + packages[name.Name] + "\"\n"
		}
	}
	return strings.Replace(file, "package page\n", "package page\n"+imports, 1) + "}\n}\n", nil
}

// declared returns the names of the variables in the outer block of a fragment's function.
func declared(f *ast.FuncDecl) (names []string) {
	for _, s := range f.Body.List[0].(*ast.BlockStmt).List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			for _, x := range s.Lhs {
				if name, ok := x.(*ast.Ident); ok && s.Tok == token.DEFINE && name.Name != "_" {
					names = append(names, name.Name)
				}
			}
		case *ast.DeclStmt:
			for _, spec := range s.Decl.(*ast.GenDecl).Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// compile compiles the programs of some pages in the module in dir, all at once, and returns what the compiler says if
// that fails. Without a fault, a first build has output, too: what it downloads.
func compile(t *testing.T, dir string, programs []*block) string {
	t.Helper()
	o := newOverlay(t, dir)
	for _, b := range programs {
		if packageClause.MatchString(b.text) {
			o.add(b.page.path+"/file", "//line "+b.place()+"\n"+b.text)
			continue
		}
		file, err := wrap(b.text, b.place())
		if err != nil {
			t.Errorf("%s: %v", b.place(), err)
			continue
		}
		o.add(b.page.path, file)
	}
	args := append([]string{"build", "-o", os.DevNull, "-overlay", o.file()}, o.packages...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	switch out, err := cmd.CombinedOutput(); {
	case err == nil:
		return ""
	case len(out) == 0:
		return err.Error()
	default:
		return string(out)
	}
}

// module returns the folder of the module that a block is compiled in.
func (b *block) module() string {
	name, _ := strings.CutPrefix(b.note, "module: ")
	if name == b.note {
		name = "."
	}
	return name
}

// TestProgramsCompile compiles all Go code of the pages.
func TestProgramsCompile(t *testing.T) {
	byModule := make(map[string][]*block)
	for _, p := range pages(t) {
		for _, b := range p.blocks("go") {
			switch b.note {
			case "excerpt":
			case "syntax":
				if _, err := parser.ParseFile(token.NewFileSet(), b.place(), b.text, 0); err != nil {
					t.Error(err)
				}
			default:
				byModule[b.module()] = append(byModule[b.module()], b)
			}
		}
	}
	if len(byModule["."]) < 5 {
		t.Fatalf("only %d programs found", len(byModule["."]))
	}
	for module, programs := range byModule {
		if out := compile(t, root+"/"+module, programs); out != "" {
			t.Errorf("in module %s:\n%s", module, out)
		}
	}
}

// TestProgramRules checks what is a program, and that faults are found, with their line.
func TestProgramRules(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a file":                      {"package main\n\nfunc main() { println() }\n", ""},
		"a file that does not import": {"package main\n\nfunc main() { os.Exit(1) }\n", "a.md:3: undefined: os"},
		"statements":                  {"app := expedite.New(expedite.Config{})\nerr := app.Run(ctx)\n", ""},
		"a field that does not exist": {"x := 1\ny := expedite.Config{Adr: \"\"}\n", "a.md:2: unknown field Adr"},
		"a result that is missing":    {"app.HTTP(mux)\nerr := app.HTTP(mux)\n", "a.md:2: app.HTTP(mux) (no value)"},
		"declarations and statements": {"type p struct {\n\tx int\n}\n\nfunc (p) f() {}\np{}.f()\n", ""},
		"a fault behind declarations": {"type p struct {\n\tx int\n}\n\np{}.f()\n", "a.md:5: p{}.f undefined"},
		"not Go":                      {"package main\nfunc {\n", "a.md:2: syntax error"},
	} {
		p := newPage("a.md", "")
		got := compile(t, root, []*block{{page: p, line: 1, lang: "go", text: tt.text}})
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	if _, err := wrap("if {\n", "a.md:1"); err == nil {
		t.Error("a fragment that is not Go: got no error")
	}
	p := newPage("a.md", "")
	shared := []*block{{page: p, line: 1, text: "type state struct{}\n"}, {page: p, line: 5, text: "var s state\n"}}
	if got := compile(t, root, shared); got != "" {
		t.Errorf("a fragment that uses a type of another: got %q", got)
	}
}

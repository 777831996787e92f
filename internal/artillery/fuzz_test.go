package artillery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// FuzzLoad checks that any input is a script or an *Error, and that a user of a script ends or fails with an error.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"*.yml", "*.json"} {
		files, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, strings.HasSuffix(file, ".json"))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, isJSON bool) {
		if strings.Contains(string(b), "path") { // avoids reading files
			return
		}
		name := "s.yml"
		if isJSON {
			name = "s.json"
		}
		s, err := parse(name, b, "")
		var p *loadtest.Plan
		if err == nil {
			p, err = s.Plan()
		}
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("got a %T: %v", err, err)
			}
			return
		}
		for i := range p.Scenarios {
			traceOf(t, p, i, 0)
		}
	})
}

// FuzzTemplate checks that any text is a template or an error, and that text without braces stays unchanged.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"{{ a }}", "{{a.b[0]}}", "{{{ a }}}", `{"n":{{ a }}}`, "{{ $randomNumber(1,10) }} {{ $randomString(3) }}", "{{ }}", "{{",
		"}}{{", "{{ a['b'] }}", "{{ $timestamp }}", "{{{{ a }}}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v loadtest.Vars
		v.Set("a", map[string]any{"b": []any{1.0, nil, "x"}})
		ns := &names{consts: map[string]any{"c": "d"}, users: map[string]bool{"a": true}, used: make(map[string]bool)}
		tmpl, err := ns.parse(&node{kind: text}, s)
		if err != nil {
			return
		}
		b, err := tmpl.Append([]byte("x"), &v)
		if err == nil && !strings.Contains(s, "{{") && string(b) != "x"+s {
			t.Errorf("got %q, want %q", b, "x"+s)
		}
	})
}

// FuzzExpression checks that any text is an expression or an error.
func FuzzExpression(f *testing.F) {
	f.Add("vusers.failed == 0 and not (p99 > 2 ^ 3 or -1 < 2)")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseExpr(s, func(string) error { return nil })
		if err == nil {
			_, _ = e.eval(map[string]float64{"p99": 1})
			_ = seen(e, map[string]float64{"p99": 1})
		}
	})
}

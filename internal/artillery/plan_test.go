package artillery

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/loadtest"
)

var update = flag.Bool("update", false, "write golden files")

// planOf compiles a script that has to be valid.
func planOf(t testing.TB, name, text string) *loadtest.Plan {
	t.Helper()
	s, err := parse(name, []byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden checks what scripts of all forms compile to.
func TestGolden(t *testing.T) {
	random := regexp.MustCompile(`access_token=[A-Za-z0-9]{10}\b`)
	for _, tt := range []struct{ file, environment string }{
		{"seed.yml", ""},
		{"steps.yml", ""},
		{"payload.yml", ""},
		{"environments.yml", ""},
		{"environments.yml", "load"},
		{"script.json", ""},
		{"program.js", ""},
		{"module.mjs", ""},
	} {
		t.Run(tt.file+" "+tt.environment, func(t *testing.T) {
			s, err := Load(filepath.Join("testdata", tt.file), tt.environment)
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.Plan()
			if err != nil {
				t.Fatal(err)
			}
			got := random.ReplaceAllString(describe(t, p), "access_token=(random)")
			for _, w := range s.Warnings() {
				got += "warning " + filepath.ToSlash(w) + "\n"
			}
			golden := filepath.Join("testdata", tt.file+"."+tt.environment+".golden")
			golden = strings.ReplaceAll(golden, "..golden", ".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestUsersDiffer checks that users get random items of a list, successive rows of a file, and UUIDs of their own.
func TestUsersDiffer(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "u.csv"), []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := planOf(t, filepath.Join(dir, "s.yml"), `
config:
  target: ws://localhost
  variables: { color: [ red, blue ], unused: [ 1, 2 ] }
  payload: { path: u.csv, fields: name, order: sequence }
scenarios: [ { engine: ws, flow: [ { send: "{{ name }}/{{ color }}/{{ $uuid }}/{{ $uuid }}" } ] } ]`)
	seen := make(map[string]bool)
	for user := range 200 {
		tr := traceOf(t, p, 0, user)
		part := strings.Split(strings.TrimPrefix(tr.lines[1], "send "), "/")
		if want := string("abc"[user%3]); part[0] != want {
			t.Fatalf("user %d: got %s, want %s", user, part[0], want)
		}
		if part[2] != part[3] || seen[part[2]] {
			t.Errorf("user %d: got UUIDs %s and %s, seen before: %t", user, part[2], part[3], seen[part[2]])
		}
		seen[part[1]], seen[part[2]] = true, true
		if _, ok := tr.vars.Get("unused"); ok {
			t.Error("got a variable that nothing asks for")
		}
	}
	if !seen["red"] || !seen["blue"] {
		t.Errorf("got colors %v, want both", seen)
	}
}

// TestRandomTemplates checks that functions are called for each user and return values within their limits.
func TestRandomTemplates(t *testing.T) {
	p := planOf(t, "s.yml", `
config: { target: ws://localhost }
scenarios:
  - engine: ws
    flow:
      - send: "{{ $randomNumber(3,5) }}"
      - send: "{{ $randomNumber() }} {{$randomNumber( 2 )}}"
      - send: "{{ $randomString(8) }} {{ $randomString() }}"
      - send: { ts: "{{ $timestamp }}", n: "{{ $randomNumber(7,7) }}" }`)
	want := []string{
		`^send [345]$`, `^send [01] [012]$`, `^send [A-Za-z0-9]{8} [A-Za-z0-9]{10}$`, `^send \{"ts":"\d{13}","n":"7"\}$`,
	}
	numbers := make(map[string]bool)
	for range 200 {
		tr := traceOf(t, p, 0, 0)
		numbers[tr.lines[1]] = true
		for i, form := range want {
			if !regexp.MustCompile(form).MatchString(tr.lines[i+1]) {
				t.Fatalf("got %s, want %s", tr.lines[i+1], form)
			}
		}
	}
	if len(numbers) != 3 {
		t.Errorf("got %d numbers, want 3", len(numbers))
	}
}

// TestJitter checks that a think with jitter varies, within its limits.
func TestJitter(t *testing.T) {
	p := planOf(t, "s.yml", `
config: { target: ws://localhost, defaults: { think: { jitter: "10%" } } }
scenarios:
  - { engine: ws, flow: [ { think: 2 }, { think: 2, jitter: 500 } ] }`)
	seen := make(map[string]bool)
	for range 100 {
		tr := traceOf(t, p, 0, 0)
		for i, form := range []string{`^think (1\.[89]|2s|2\.[01])`, `^think (1\.[5-9]|2s|2\.[0-4])`} {
			if !regexp.MustCompile(form).MatchString(tr.lines[i+1]) {
				t.Fatalf("got %s, want %s", tr.lines[i+1], form)
			}
		}
		seen[tr.lines[1]] = true
	}
	if len(seen) < 2 {
		t.Error("got the same time always")
	}
}

// TestUnsetFails checks that a user that uses an unset variable fails, and that the error names the variable.
func TestUnsetFails(t *testing.T) {
	p := planOf(t, "s.yml", `
config: { target: ws://localhost }
scenarios:
  - engine: ws
    flow:
      - send: { payload: "{}", capture: { json: $.id, as: id, strict: false } }
      - send: "{{ id }}"`)
	got := traceOf(t, p, 0, 0).String()
	if want := "failed: artillery: a variable has no value: id\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestDetails checks details of single steps.
func TestDetails(t *testing.T) {
	for _, tt := range []struct{ name, step, want string }{
		{"a key is text", `send: { "{{ n }}": "{{ n }}" }`, "send {\"7\":7}\n"},
		{"text keeps braces", `send: "{ {{ n }} }} {{"`, "send { 7 }} {{\n"},
		{"three braces are one template", `send: "{{{ n }}}"`, "send 7\n"},
		{"but not behind two", `send: "{{{ n }} {{ n }}}"`, "send 7 7}\n"},
		{"text in JSON is quoted", `send: [ "{{ quote }}", "a {{ quote }}" ]`, `send ["\"\\","a \"\\"]` + "\n"},
		{
			"a number is put as JavaScript does", "send: [ 1e21, 0.1, 1e-7, 100000000000000000000 ]",
			"send [1e+21,0.1,1e-7,100000000000000000000]\n",
		},
		{
			"an empty capture is none", `send: { payload: { a: "" }, capture: { json: $.a, as: a } }`,
			"send {\"a\":\"\"}\n  reply within 10s\nfailed: capture $.a: nothing\n",
		},
		{
			"an empty match is one", `send: { payload: { a: "" }, match: { json: $.a, value: "" } }`,
			"send {\"a\":\"\"}\n  reply within 10s\n  match $.a = \n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planOf(t, "s.yml", `
config: { target: ws://localhost, variables: { n: 7, quote: '"\' } }
scenarios: [ { engine: ws, flow: [ { `+tt.step+` } ] } ]`)
			_, got, _ := strings.Cut(traceOf(t, p, 0, 0).String(), "\n")
			if got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestConfigOnce checks that functions in config are called once and not for each user, as in artillery.
func TestConfigOnce(t *testing.T) {
	p := planOf(t, "s.yml", `
config: { target: ws://localhost, variables: { v: "{{ $randomString(8) }}" } }
scenarios: [ { engine: ws, flow: [ { send: "{{ v }}" } ] } ]`)
	first, second := traceOf(t, p, 0, 0).String(), traceOf(t, p, 0, 1).String()
	if first != second {
		t.Errorf("got %s and %s, want the same", first, second)
	}
}

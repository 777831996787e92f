package doctest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// dataFault returns what is wrong with a block of data or JavaScript.
func dataFault(t *testing.T, b *block) string {
	t.Helper()
	switch b.lang {
	case "json":
		var v any
		if err := json.Unmarshal([]byte(b.text), &v); err != nil {
			return err.Error()
		}
	case "yaml":
		var v any
		if err := yaml.Unmarshal([]byte(b.text), &v); err != nil {
			return err.Error()
		}
		if isConfiguration(b.text) {
			return configurationFault(t, b.text)
		}
	case "js":
		return scriptFault(t, b.text)
	}
	return ""
}

// isConfiguration reports whether a block is an expedite.yaml: its first line says so.
func isConfiguration(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return strings.HasPrefix(first, "#") && strings.Contains(first, "expedite.yaml") ||
		strings.Contains(first, "expedite.schema.json")
}

// configurationFault asks expedite, which knows more than the JSON Schema.
func configurationFault(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "expedite.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, ok := expedite(t, "config", "check", path); !ok {
		return strings.TrimSpace(out)
	}
	return ""
}

// scriptFault asks Node.js whether text is JavaScript: a module, which may import others and await.
func scriptFault(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "block.mjs")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "node", "--check", path).CombinedOutput(); err != nil {
		return err.Error() + ": " + strings.TrimSpace(string(out))
	}
	return ""
}

// TestData checks the JSON, the YAML and the JavaScript of the pages.
func TestData(t *testing.T) {
	found := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks("json", "yaml", "js") {
			found++
			if fault := dataFault(t, b); fault != "" && b.note != "excerpt" {
				t.Errorf("%s: %s", b.place(), fault)
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d blocks found", found)
	}
}

// TestLanguages checks that blocks of code name a language that is checked, or one that cannot be.
func TestLanguages(t *testing.T) {
	known := " go sh bash console json yaml js ini nginx haproxy caddyfile html toml dockerfile diff text mermaid "
	for _, p := range pages(t) {
		for _, b := range p.blocks() {
			if b.lang != "" && !strings.Contains(known, " "+b.lang+" ") {
				t.Errorf("%s: no test knows the language %s", b.place(), b.lang)
			}
		}
	}
}

// TestDataRules checks that faults are found.
func TestDataRules(t *testing.T) {
	for _, tt := range []struct{ lang, text, want string }{
		{"json", `{"a": 1}`, ""},
		{"json", `{"a": 1,}`, "invalid character"},
		{"yaml", "a: [1, 2]\n", ""},
		{"yaml", "a: [1, 2\n", "did not find"},
		{"yaml", "workers: many\n", ""},
		{"yaml", "# expedite.yaml\nworkers: 4\n", ""},
		{"yaml", "# expedite.yaml\nworkers: many\n", "want auto or a number"},
		{"yaml", "# yaml-language-server: $schema=docs/expedite.schema.json\nworker: 4\n", "unknown key"},
		{"js", "import x from 'y'\nawait x(1)\n", ""},
		{"js", "const x = \n", "SyntaxError"},
	} {
		got := dataFault(t, &block{lang: tt.lang, text: tt.text})
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s %q: got %q, want %q", tt.lang, tt.text, got, tt.want)
		}
	}
}

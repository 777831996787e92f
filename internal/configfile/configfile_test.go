package configfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckSuccessor checks that a reload refuses a configuration file that has disappeared or lost its content.
func TestCheckSuccessor(t *testing.T) {
	was := document{Name: "e.yaml", Text: "auth: required\n"}
	before, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []document{{}, {Name: was.Name}, {Name: was.Name, Text: " \n"}} {
		if err := now.checkSuccessor(before); err == nil || !strings.Contains(err.Error(), was.Name) {
			t.Errorf("reload with %+v: got %v, want a refusal that names the file", now, err)
		}
	}
	for name, before := range map[string][]byte{"the same file": before, "no file before": nil, "an empty file before": []byte(`{"name":"e.yaml"}`)} {
		if err := was.checkSuccessor(before); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	known := []string{"addr", "origins", "workers"}
	for _, tt := range []struct{ text, key, want, err string }{
		{"", "addr", "", ""},
		{"addr: :80\norigins: [a, b]\n", "addr", ":80", ""},
		{"addr: :80\norigins: [a, b]\n", "origins", "a,b", ""},
		{"addr: :80\nworker: 3\n", "", "", `e.yaml, line 2: unknown key "worker": did you mean "workers"?`},
		{"addr: {a: b}\n", "", "", "line 1: addr wants a value"},
		{"origins: [[a]]\n", "", "", "line 1: origins wants a value"},
		{"addr: [", "", "", "configuration file e.yaml: "},
	} {
		values, err := document{Name: "e.yaml", Text: tt.text}.parse(known)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %v, want %q", tt.text, err, tt.err)
			}
		} else if err != nil || values[tt.key] != tt.want {
			t.Errorf("%q: got %v, %v, want %s: %q", tt.text, values, err, tt.key, tt.want)
		}
	}
}

func TestReadDocument(t *testing.T) {
	t.Chdir(t.TempDir())
	if doc, err := readDocument(""); err != nil || doc != (document{}) {
		t.Errorf("no file: got %+v, %v", doc, err)
	}
	if _, err := readDocument(filepath.Join("a", "b")); err == nil {
		t.Error("a named file that does not exist: got no error")
	}
	if err := os.WriteFile(Default, []byte("addr: :1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if doc, err := readDocument(""); err != nil || doc != (document{Default, "addr: :1\n"}) {
		t.Errorf("the default file: got %+v, %v", doc, err)
	}
}

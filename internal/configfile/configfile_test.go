package configfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
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
	for _, tt := range []struct {
		text string
		want []Entry
		errs []string
	}{
		{"", nil, nil},
		{"# nothing\n", nil, nil},
		{"addr: :80\n\norigins: [a, \"b,c\"]\n", []Entry{{"addr", 1, []string{":80"}, false}, {"origins", 3, []string{"a", "b,c"}, true}}, nil},
		{"addr:\n", []Entry{{"addr", 1, []string{""}, false}}, nil},
		{"workers: 0x10\n", []Entry{{"workers", 1, []string{"0x10"}, false}}, nil},
		{"addr: &a :80\norigins: *a\n", []Entry{{"addr", 1, []string{":80"}, false}, {"origins", 2, []string{":80"}, false}}, nil},
		{"addr: :80\nworker: 3\nx: 1\n", nil, []string{`e.yaml:2: unknown key "worker": did you mean "workers"?`, `e.yaml:3: unknown key "x"`}},
		{"addr: {a: b}\n", nil, []string{"e.yaml:1: addr: want a value"}},
		{"\norigins: [[a]]\n", nil, []string{"e.yaml:2: origins: want a value"}},
		{"addr: 1\naddr: 2\n", nil, []string{"e.yaml:2: addr: is in line 1 already"}},
		{"- addr\n", nil, []string{"e.yaml:1: want lines"}},
		{"addr: :80\norigins: [\n", nil, []string{"e.yaml:2: not valid YAML: "}},
	} {
		file, err := document{Name: "e.yaml", Text: tt.text}.parse()
		if err == nil {
			err = file.Check(known)
		}
		if len(tt.errs) == 0 {
			if err != nil || !reflect.DeepEqual(file.Entries, tt.want) {
				t.Errorf("%q: got %+v, %v, want %+v", tt.text, file.Entries, err, tt.want)
			}
			continue
		}
		for _, want := range tt.errs {
			if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
				t.Errorf("%q: got %v, want a line %q", tt.text, err, want)
			}
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

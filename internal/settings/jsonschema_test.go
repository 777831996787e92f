package settings

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/expedite-go/expedite/internal/configfile"
)

// accepts reports whether a schema accepts a value, as far as our schemas go.
func (n *schemaNode) accepts(v any) bool {
	if len(n.AnyOf) > 0 {
		return slices.ContainsFunc(n.AnyOf, func(one *schemaNode) bool { return one.accepts(v) })
	}
	is := ""
	switch v := v.(type) {
	case string:
		is = "string"
		if n.Enum != nil {
			return slices.Contains(n.Enum, v)
		}
		if n.Pattern != "" && !regexp.MustCompile(n.Pattern).MatchString(v) {
			return false
		}
	case int:
		is = "integer"
		if n.Minimum != nil && v < *n.Minimum || n.Maximum != nil && v > *n.Maximum {
			return false
		}
	case bool:
		is = "boolean"
	case []any:
		is = "array"
		if n.Items == nil {
			return false
		}
		for _, one := range v {
			if !n.Items.accepts(one) {
				return false
			}
		}
	}
	if types, ok := n.Type.([]any); ok {
		return slices.Contains(types, any(is))
	}
	return n.Type == is
}

// TestJSONSchema checks that the schema and Load agree about values of each type.
func TestJSONSchema(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSONSchema(&b); err != nil {
		t.Fatal(err)
	}
	var root schemaNode
	if err := json.Unmarshal(b.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	if got, want := len(root.Properties), len(Keys()); got != want {
		t.Errorf("got %d properties, want %d", got, want)
	}
	values := []string{
		"0", "1", "-1", "-2", "30", "30s", "1h30m", "1.5h", "0s", "-1s", "off", "never", "auto", "512MiB", "4096B", "512", "1kB",
		"64KiB/s", "1KiB/10s", "1KiB/s", "1KiB", "true", "required", "loud", "[a.example, b.example]", "x", "5000", "debug",
	}
	for name, want := range root.Properties {
		if name == "control" || name == "state-dir" || newTable(new(Program)).find(name).to.kind == "text" ||
			name == "addr" || name == "admin" || name == "redis" || name == "auth-jwks" || name == "auth-introspect" {
			continue // any text, or a syntax that no pattern describes
		}
		for _, text := range values {
			var v any
			if err := yaml.Unmarshal([]byte(text), &v); err != nil {
				t.Fatal(err)
			}
			s := newTable(new(Program)).find(name)
			if s.to.list || s.to.flag || s.FileOf != "" || s.to.kind == "duration" && text == "0s" {
				continue // Load accepts more texts, or no pattern says what it accepts
			}
			f := configfile.File{Name: "e", Entries: []configfile.Entry{{Key: name, Line: 1, Texts: []string{text}}}}
			l := new(Loaded)
			l.table, l.given = newTable(&l.Program), make(map[string]given)
			s = l.table.find(name)
			src := Sources{File: f}
			l.given[name], _ = src.find(s)
			err := l.apply(s)
			if got := want.accepts(v); got != (err == nil) {
				t.Errorf("%s: %s: the schema accepts it: %v; Load says %v", name, text, got, err)
			}
		}
	}
}

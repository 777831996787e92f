package artillery

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readYAML reads a script in YAML.
func readYAML(file string, b []byte) (*node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Error{File: file, Reason: "the script is empty"}
		}
		return nil, yamlError(file, err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(file, err)
		}
		return nil, &Error{File: file, Line: second.Line, Reason: "want one document, got a second"}
	}
	r := yamlReader{budget: budget{file: file}}
	return r.node(doc.Content[0], "", 0)
}

// yamlError extracts the line from an error of the library.
func yamlError(file string, err error) error {
	e := &Error{File: file, Reason: strings.TrimPrefix(err.Error(), "yaml: ")}
	var line int
	if n, _ := fmt.Sscanf(e.Reason, "line %d:", &line); n == 1 {
		e.Line = line
		_, e.Reason, _ = strings.Cut(e.Reason, ": ")
	}
	return e
}

// yamlReader converts the library's nodes. Aliases are expanded and count each time.
type yamlReader struct{ budget }

func (r *yamlReader) node(y *yaml.Node, path string, depth int) (*node, error) {
	if y.Kind == yaml.AliasNode {
		n, err := r.node(y.Alias, path, depth+1)
		if err == nil && n.line == 0 {
			n.line = y.Line
		}
		return n, err
	}
	n, err := r.budget.node(null, y.Line, path, depth)
	if err != nil {
		return nil, err
	}
	switch y.Kind {
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			v, err := r.node(item, at(path, i), depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	case yaml.MappingNode:
		n.kind = object
		return n, r.mapping(n, y, depth)
	}
	return n, scalar(n, y)
}

// mapping reads the fields of an object. Fields from a merge key come last and do not replace others.
func (r *yamlReader) mapping(n *node, y *yaml.Node, depth int) error {
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		k, err := r.node(key, n.path, depth+1)
		if err != nil {
			return err
		}
		if k.kind == list || k.kind == object {
			return k.fault("want a plain key, got %s", k.kind)
		}
		v, err := r.node(value, join(n.path, key.Value), depth+1)
		if err != nil {
			return err
		}
		if err := n.add(field{key.Value, key.Line, v}); err != nil {
			return err
		}
	}
	for _, y := range merged {
		from, err := r.node(y, n.path, depth+1)
		if err != nil {
			return err
		}
		for _, m := range from.listed() {
			if err := m.is(object); err != nil {
				return err
			}
			for _, f := range m.fields {
				if n.get(f.key) != nil {
					continue
				}
				if err := n.add(f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func scalar(n *node, y *yaml.Node) error {
	switch y.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		n.kind, n.truth = boolean, strings.EqualFold(y.Value, "true")
	case "!!int", "!!float":
		v, err := yamlNumber(y.Value)
		if err != nil {
			return n.fault("%q is not a number", y.Value)
		}
		n.kind, n.num = number, v
	case "!!str", "!!timestamp": // dates stay text
		n.kind, n.text = text, y.Value
	default:
		return n.fault("unknown tag %s", y.Tag)
	}
	return nil
}

// yamlNumber parses a decimal number, or an integer with a base prefix. Infinities are not allowed.
func yamlNumber(s string) (float64, error) {
	s = strings.ReplaceAll(s, "_", "")
	if i, err := strconv.ParseInt(s, 0, 64); err == nil {
		return float64(i), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsInf(v, 0) || math.IsNaN(v)) {
		err = strconv.ErrRange
	}
	return v, err
}

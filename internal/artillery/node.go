package artillery

import (
	"fmt"
	"slices"

	"github.com/expedite-go/expedite/internal/spelling"
)

// Limits of a script.
const (
	maxScript = 4 << 20 // bytes
	maxNodes  = 200_000 // values, with aliases expanded
	maxFields = 2000    // of one object, because lookups are linear
	maxDepth  = 64      // nesting
)

// kind is the type of a node.
type kind byte

// The kinds of nodes.
const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

func (k kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "text", "a list", "an object"}[k]
}

// node is a value in a script, with its position.
type node struct {
	kind   kind
	truth  bool
	num    float64
	text   string
	items  []*node // of a list
	fields []field // of an object, in the order of the script

	file string
	line int // 0 if unknown
	path string
}

type field struct {
	key   string
	line  int
	value *node
}

// fault returns an error at the position of the node.
func (n *node) fault(format string, args ...any) error {
	return &Error{File: n.file, Line: n.line, Key: n.path, Reason: fmt.Sprintf(format, args...)}
}

// get returns the value of a field, or nil if it is missing.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// set replaces the field with the same key, or appends the field.
func (n *node) set(f field) {
	for i := range n.fields {
		if n.fields[i].key == f.key {
			n.fields[i] = f
			return
		}
	}
	n.fields = append(n.fields, f)
}

// add appends a new field.
func (n *node) add(f field) error {
	switch {
	case n.get(f.key) != nil:
		return &Error{File: n.file, Line: f.line, Key: join(n.path, f.key), Reason: "duplicate key"}
	case len(n.fields) >= maxFields:
		return n.fault("an object has more than %d keys", maxFields)
	}
	n.fields = append(n.fields, f)
	return nil
}

// keys returns the names of the fields.
func (n *node) keys() []string {
	var keys []string
	if n != nil {
		for _, f := range n.fields {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// is returns an error unless the node has the kind.
func (n *node) is(k kind) error {
	if n.kind != k {
		return n.fault("want %s, got %s", k, n.kind)
	}
	return nil
}

// known returns an error unless the node is an object with no other keys.
func (n *node) known(keys ...string) error {
	if err := n.is(object); err != nil {
		return err
	}
	for _, f := range n.fields {
		if !slices.Contains(keys, f.key) {
			return &Error{
				File: n.file, Line: f.line, Key: join(n.path, f.key),
				Reason: "unknown key" + spelling.Suggest(f.key, keys),
			}
		}
	}
	return nil
}

// listed returns the items of a list, or else the node itself as the only item, as artillery does.
func (n *node) listed() []*node {
	switch {
	case n == nil:
		return nil
	case n.kind == list:
		return n.items
	}
	return []*node{n}
}

// truthy reports whether the node is true in a condition of JavaScript. A missing node is not.
func (n *node) truthy() bool {
	if n == nil {
		return false
	}
	switch n.kind {
	case null:
		return false
	case boolean:
		return n.truth
	case number:
		return n.num != 0
	case text:
		return n.text != ""
	}
	return true
}

// join returns the path of a field.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// at returns the path of an item.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// budget counts nodes while a script is read.
type budget struct {
	file  string
	nodes int
}

// node creates a node. It fails if the script has too many.
func (b *budget) node(k kind, line int, path string, depth int) (*node, error) {
	n := &node{kind: k, file: b.file, line: line, path: path}
	b.nodes++
	switch {
	case b.nodes > maxNodes:
		return nil, n.fault("the script has more than %d values", maxNodes)
	case depth > maxDepth:
		return nil, n.fault("the script is nested more than %d deep", maxDepth)
	}
	return n, nil
}

// fieldsOf returns the fields, or none if the node is missing.
func (n *node) fieldsOf() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

package artillery

import (
	"fmt"
	"slices"

	"github.com/expedite-go/expedite/internal/spelling"
)

// Bounds of a script.
const (
	maxScript = 4 << 20 // bytes
	maxNodes  = 200_000 // values, with aliases written out
	maxFields = 2000    // of one object: they are looked through one by one
	maxDepth  = 64      // of nesting
)

// kind is what a node is.
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

// node is a value of a script with its place.
type node struct {
	kind   kind
	truth  bool
	num    float64
	text   string
	items  []*node // of a list
	fields []field // of an object, in the script's order

	file string
	line int // 0: unknown
	path string
}

type field struct {
	key   string
	line  int
	value *node
}

// fault is an error at the node's place.
func (n *node) fault(format string, args ...any) error {
	return &Error{File: n.file, Line: n.line, Key: n.path, Reason: fmt.Sprintf(format, args...)}
}

// get is the value of a field; nil if there is none.
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

// set puts a field in place of the one with its key, or behind the others.
func (n *node) set(f field) {
	for i := range n.fields {
		if n.fields[i].key == f.key {
			n.fields[i] = f
			return
		}
	}
	n.fields = append(n.fields, f)
}

// add puts a new field behind the others.
func (n *node) add(f field) error {
	switch {
	case n.get(f.key) != nil:
		return &Error{File: n.file, Line: f.line, Key: join(n.path, f.key), Reason: "the key is there twice"}
	case len(n.fields) >= maxFields:
		return n.fault("an object has more than %d keys", maxFields)
	}
	n.fields = append(n.fields, f)
	return nil
}

// keys are the names of the fields.
func (n *node) keys() []string {
	var keys []string
	if n != nil {
		for _, f := range n.fields {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// is fails unless the node is of a kind.
func (n *node) is(k kind) error {
	if n.kind != k {
		return n.fault("want %s, got %s", k, n.kind)
	}
	return nil
}

// known fails unless the node is an object whose keys are all known.
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

// list is the node's items, or the node itself if it is no list: artillery takes one for a list of one.
func (n *node) listed() []*node {
	switch {
	case n == nil:
		return nil
	case n.kind == list:
		return n.items
	}
	return []*node{n}
}

// truthy is what JavaScript's conditions make of the node. A missing one is false.
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

// join is the path of a field.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// at is the path of an item.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// budget counts nodes while a script is read.
type budget struct {
	file  string
	nodes int
}

// node makes a node, if there is room for one more.
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

// fieldsOf are the fields; of a missing node, none.
func (n *node) fieldsOf() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

package route

import (
	"errors"
	"fmt"
	"strings"
)

// Set finds the pattern of a path. It is never changed, and safe for concurrent use.
type Set struct {
	exact map[string]int // by path: patterns without wildcards
	root  *node
}

// node is the set of patterns that begin with the same segments. A path reaches a node in one way only, so a search
// takes at most one step per node.
type node struct {
	literals map[string]*node
	wildcard *node
	rest     int // index of the pattern that ends with a rest here; -1 is none
	pattern  int // index of the pattern that ends here; -1 is none
}

func newNode() *node { return &node{rest: -1, pattern: -1} }

// NewSet returns the set of the patterns. Two patterns conflict if they match the same paths, or if both match some
// path and each also matches others. NewSet reports every conflict.
func NewSet(patterns []*Pattern) (*Set, error) {
	var faults []error
	for i, p := range patterns {
		for _, q := range patterns[:i] {
			faults = append(faults, conflict(q, p))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s := &Set{exact: make(map[string]int), root: newNode()}
	for i, p := range patterns {
		s.root.add(p.segments, i)
		if path, ok := p.path(); ok {
			s.exact[path] = i
		}
	}
	return s, nil
}

// path returns the only path that the pattern matches, if there is one that needs no percent-encoding of % and /.
func (p *Pattern) path() (string, bool) {
	var b strings.Builder
	for _, s := range p.segments {
		if s.kind != literal || strings.ContainsAny(s.text, "%/") {
			return "", false
		}
		b.WriteByte('/')
		b.WriteString(s.text)
	}
	return b.String(), true
}

func (n *node) add(segments []segment, index int) {
	if len(segments) == 0 {
		n.pattern = index
		return
	}
	switch s := segments[0]; s.kind {
	case rest:
		n.rest = index
	case wildcard:
		if n.wildcard == nil {
			n.wildcard = newNode()
		}
		n.wildcard.add(segments[1:], index)
	default:
		next := n.literals[s.text]
		if next == nil {
			if n.literals == nil {
				n.literals = make(map[string]*node)
			}
			next = newNode()
			n.literals[s.text] = next
		}
		next.add(segments[1:], index)
	}
}

// Match returns the index of the most specific pattern that matches a path, which is that of a request line without its
// query. It does not allocate, unless the path has percent-encoded bytes.
func (s *Set) Match(path string) (index int, ok bool) {
	if index, ok = s.exact[path]; ok {
		return index, true
	}
	if !clean(path) {
		return 0, false
	}
	index = s.root.match(path)
	return max(index, 0), index >= 0
}

// match returns the index of the pattern for the rest of a path, -1 if there is none. A literal is more specific than a
// wildcard, and that more than a rest. There are no conflicts, so the first pattern that is found is the most specific.
func (n *node) match(path string) int {
	if path == "" {
		return n.pattern
	}
	text, after := cut(path)
	if next := n.literals[text]; next != nil {
		if index := next.match(after); index >= 0 {
			return index
		}
	}
	if n.wildcard != nil && text != "" {
		if index := n.wildcard.match(after); index >= 0 {
			return index
		}
	}
	return n.rest
}

// relation is how the paths of two patterns relate.
type relation uint8

const (
	equal relation = iota
	general
	specific
	overlap
	disjoint
)

// and returns the relation of two patterns of which a part has relation r and the others have relation o.
func (r relation) and(o relation) relation {
	switch {
	case r == disjoint || o == disjoint:
		return disjoint
	case r == equal || r == o:
		return o
	case o == equal:
		return r
	default:
		return overlap
	}
}

// compare returns how the paths of p relate to those of q.
func (p *Pattern) compare(q *Pattern) relation {
	r := equal
	a, b := p.segments, q.segments
	for ; len(a) > 0 && len(b) > 0; a, b = a[1:], b[1:] {
		if r = r.and(a[0].compare(b[0])); r == disjoint {
			return disjoint
		}
	}
	switch {
	case len(a) == 0 && len(b) == 0:
		return r
	case len(a) == 0 && p.segments[len(p.segments)-1].kind == rest:
		return r.and(general)
	case len(b) == 0 && q.segments[len(q.segments)-1].kind == rest:
		return r.and(specific)
	default:
		return disjoint
	}
}

// compare returns how the segments that s matches relate to those of o.
func (s segment) compare(o segment) relation {
	switch {
	case s.kind == o.kind && (s.kind != literal || s.text == o.text):
		return equal
	case s.kind == literal && o.kind == literal:
		return disjoint
	case s.kind == literal && s.text == "" && o.kind == wildcard, o.kind == literal && o.text == "" && s.kind == wildcard:
		return disjoint
	case s.kind > o.kind:
		return general
	default:
		return specific
	}
}

// conflict returns an error if it is not clear which of two patterns wins for every path.
func conflict(p, q *Pattern) error {
	switch p.compare(q) {
	case equal:
		return fmt.Errorf("the patterns %q and %q match the same paths: keep one of them", p.text, q.text)
	case overlap:
		return fmt.Errorf("the patterns %q and %q conflict: both match %q, and neither is more specific",
			p.text, q.text, common(p, q))
	default:
		return nil
	}
}

// common returns a path that two patterns match that overlap.
func common(p, q *Pattern) string {
	var b strings.Builder
	for i := range max(len(p.segments), len(q.segments)) {
		var s segment
		switch {
		case i >= len(p.segments):
			s = q.segments[i]
		case i >= len(q.segments) || p.segments[i].kind < q.segments[i].kind:
			s = p.segments[i]
		default:
			s = q.segments[i]
		}
		b.WriteString("/" + s.text)
	}
	return b.String()
}

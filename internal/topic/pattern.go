package topic

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// ErrPattern is returned if a text is not the pattern of a rule.
var ErrPattern = errors.New("topic: bad pattern")

// maxPattern is the longest pattern in bytes.
const maxPattern = 256

// Pattern selects topics by their names: a * matches any sequence of bytes, including an empty one. The zero Pattern
// selects nothing.
type Pattern struct {
	parts []string // between the stars; one if there is none
}

// ParsePattern returns the pattern of a text. It returns ErrPattern if the text is empty, longer than 256 bytes, or
// begins with a zero byte: such topics are reserved for the server.
func ParsePattern(text string) (Pattern, error) {
	if text == "" || len(text) > maxPattern || text[0] == 0 {
		return Pattern{}, fmt.Errorf("%w: %.40q: want 1 to %d bytes that do not begin with a zero byte",
			ErrPattern, text, maxPattern)
	}
	return Pattern{strings.Split(text, "*")}, nil
}

// String returns the text of the pattern.
func (p Pattern) String() string { return strings.Join(p.parts, "*") }

// Matches reports whether the pattern selects a topic. Names that begin with a zero byte are never selected.
func (p Pattern) Matches(name string) bool {
	last := len(p.parts) - 1
	switch {
	case name == "" || name[0] == 0 || last < 0:
		return false
	case last == 0:
		return name == p.parts[0]
	case len(name) < len(p.parts[0])+len(p.parts[last]) || !strings.HasPrefix(name, p.parts[0]) ||
		!strings.HasSuffix(name, p.parts[last]):
		return false
	}
	name = name[len(p.parts[0]) : len(name)-len(p.parts[last])]
	for _, part := range p.parts[1:last] { // the first place of each leaves the most for those after it
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}

// Rules are values by pattern. The zero value has none. It must not change while Find is called.
type Rules[T any] struct{ list []rule[T] }

type rule[T any] struct {
	pattern Pattern
	value   T
}

// Add adds a rule. Those that were added before go first.
func (r *Rules[T]) Add(p Pattern, value T) { r.list = append(r.list, rule[T]{p, value}) }

// Len returns the number of rules.
func (r *Rules[T]) Len() int { return len(r.list) }

// Find returns the value of the first rule whose pattern selects a topic. It reports false if there is none.
func (r *Rules[T]) Find(name string) (value T, ok bool) {
	for i := range r.list {
		if r.list[i].pattern.Matches(name) {
			return r.list[i].value, true
		}
	}
	return value, false
}

// All returns the patterns and values in the order in which they were added.
func (r *Rules[T]) All() iter.Seq2[Pattern, T] {
	return func(yield func(Pattern, T) bool) {
		for i := range r.list {
			if !yield(r.list[i].pattern, r.list[i].value) {
				return
			}
		}
	}
}

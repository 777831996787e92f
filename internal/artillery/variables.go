package artillery

import (
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// source provides variables for users.
type source interface {
	// names returns the variables that begin may set.
	names() []string
	// begin sets those variables that are used, when a user starts.
	begin(user int, used map[string]bool, v *loadtest.Vars)
}

// inline is config.variables. Of a list, each user gets a random item.
type inline struct{ vars []choice }

type choice struct {
	name string
	from []any
}

func (s *inline) names() (names []string) {
	for _, c := range s.vars {
		names = append(names, c.name)
	}
	return names
}

func (s *inline) begin(_ int, used map[string]bool, v *loadtest.Vars) {
	for _, c := range s.vars {
		if used[c.name] && len(c.from) > 0 {
			v.Set(c.name, c.from[rand.IntN(len(c.from))])
		}
	}
}

var _ source = (*inline)(nil)

// variables compiles config.variables. Functions in it are called once, as artillery does.
func (c *compiler) variables(n *node) (*inline, error) {
	s := new(inline)
	if n == nil || n.kind == null {
		return s, nil
	}
	if err := n.is(object); err != nil {
		return nil, err
	}
	for _, f := range n.fields {
		v, err := c.config.filled(f.value)
		if err != nil {
			return nil, err
		}
		from, isList := v.([]any)
		if !isList {
			from = []any{v}
		}
		s.vars = append(s.vars, choice{f.key, from})
	}
	return s, nil
}

// identity provides $uuid.
type identity struct{}

func (identity) names() []string { return []string{"$uuid"} }

func (identity) begin(_ int, used map[string]bool, v *loadtest.Vars) {
	if used["$uuid"] {
		v.Set("$uuid", uuid())
	}
}

var _ source = identity{}

// uuid returns a random UUID. RFC 9562 §5.4.
func uuid() string {
	var b [16]byte
	_, _ = crand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

package artillery

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/internal/spelling"
)

// The forms of templates in artillery.
var (
	callForm = regexp.MustCompile(`^\{\{\s*(\$[A-Za-z0-9_]+)\s*\(([A-Za-z0-9_,\s]*)\)\s*\}\}`)
	nameForm = regexp.MustCompile(`^\{\{\{?([\s$\w.\[\]'"-]+)\}\}`)
	likeForm = regexp.MustCompile(`^\{\{\s*[$A-Za-z_][^{}]*\}\}`)
)

const (
	maxRandom       = 1 << 30
	maxRandomString = 1 << 20 // bytes
	letters         = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// names are the names that templates may refer to.
type names struct {
	consts map[string]any  // known at compile time
	users  map[string]bool // variables that users have, or may get
	used   map[string]bool // of users: those that templates refer to
	loops  []loopNames     // the enclosing loops, innermost last
}

// template is text with parts that differ by user.
type template struct {
	parts []part
	// whole means that the template consists of one part, whose value keeps its type.
	whole bool
}

// part is one of text, a variable or a function.
type part struct {
	lit  any
	path []string      // a variable, and the path within its value
	call func() string // a function
}

// parse parses a template at a node.
func (ns *names) parse(n *node, s string) (*template, error) {
	t := new(template)
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			t.parts = append(t.parts, part{lit: lit.String()})
			lit.Reset()
		}
	}
	for rest := s; rest != ""; {
		i := strings.Index(rest, "{{")
		if i < 0 {
			lit.WriteString(rest)
			break
		}
		lit.WriteString(rest[:i])
		rest = rest[i:]
		p, size, err := ns.part(n, rest)
		if err != nil {
			return nil, err
		}
		if size == 0 { // braces that are plain text
			lit.WriteByte('{')
			rest = rest[1:]
			continue
		}
		if constant, ok := p.lit.(string); ok && size < len(s) {
			lit.WriteString(constant) // joins the surrounding text
		} else {
			flush()
			t.parts = append(t.parts, p)
		}
		rest = rest[size:]
		t.whole = size == len(s)
	}
	flush()
	return t, nil
}

// part parses the template at the start of s. It returns a size of 0 if there is none.
func (ns *names) part(n *node, s string) (p part, size int, err error) {
	if m := callForm.FindStringSubmatch(s); m != nil {
		call, err := function(m[1], m[2])
		if err != nil {
			return p, 0, n.fault("%s: %s", m[0], err)
		}
		return part{call: call}, len(m[0]), nil
	}
	m := nameForm.FindStringSubmatch(s)
	if m == nil {
		if like := likeForm.FindString(s); like != "" {
			return p, 0, n.fault("malformed template %s: want {{ name }} or {{ $function(1, 2) }}", like)
		}
		return p, 0, nil
	}
	size = len(m[0])
	if strings.HasPrefix(s, "{{{") && strings.HasPrefix(s[size:], "}") {
		size++
	}
	p, err = ns.name(strings.TrimSpace(m[1]))
	if err != nil {
		return p, 0, n.fault("%s: %s", m[0], err)
	}
	return p, size, nil
}

// name resolves a name. Variables of users take precedence over values known at compile time.
func (ns *names) name(name string) (part, error) {
	path := []string{name}
	if !ns.users[name] {
		path = steps(name)
	}
	if len(path) == 0 {
		return part{}, errors.New("want a name")
	}
	if path[0] == "$env" || path[0] == "$processEnvironment" {
		if len(path) != 2 {
			return part{}, errors.New("want the name of a variable of the environment behind a dot")
		}
		v, ok := os.LookupEnv(path[1])
		if !ok {
			return part{}, fmt.Errorf("the environment has no variable %s", path[1])
		}
		return part{lit: v}, nil
	}
	for _, l := range slices.Backward(ns.loops) {
		if variable := l.find(path[0]); variable != "" {
			ns.used[variable] = true
			return part{path: append([]string{variable}, path[1:]...)}, nil
		}
	}
	switch {
	case ns.users[path[0]]:
		ns.used[path[0]] = true
		return part{path: path}, nil
	case path[0] == "$timestamp" && len(path) == 1:
		return part{call: func() string { return strconv.FormatInt(time.Now().UnixMilli(), 10) }}, nil
	}
	v, ok := ns.consts[path[0]]
	if !ok {
		known := slices.AppendSeq([]string{"$env", "$timestamp"}, maps.Keys(ns.consts))
		for _, l := range ns.loops {
			known = append(known, l.index, l.element)
		}
		known = slices.AppendSeq(known, maps.Keys(ns.users))
		return part{}, errors.New("unknown name" + spelling.Suggest(path[0], known))
	}
	if v, ok = walk(v, path[1:]); !ok {
		return part{}, fmt.Errorf("%s has no such field", path[0])
	}
	return part{lit: v}, nil
}

// steps splits a path like a.b[0]["c"]. It returns nothing if the path is malformed.
func steps(s string) (path []string) {
	for s != "" {
		var step string
		if s[0] == '[' {
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil
			}
			step, s = strings.Trim(s[1:end], `'"`), s[end+1:]
		} else {
			s = strings.TrimPrefix(s, ".")
			end := strings.IndexAny(s, ".[")
			if end < 0 {
				end = len(s)
			}
			step, s = s[:end], s[end:]
		}
		if step == "" {
			return nil
		}
		path = append(path, step)
	}
	return path
}

// walk returns the value at a path.
func walk(v any, path []string) (any, bool) {
	for _, step := range path {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[step]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, ok := index(step)
			switch {
			case step == "length":
				v = float64(len(in))
			case ok && i < len(in):
				v = in[i]
			default:
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return v, true
}

// function returns a function of templates with its arguments applied.
func function(name, list string) (func() string, error) {
	var args []int
	for _, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		if s == "" && strings.TrimSpace(list) == "" {
			break
		}
		v, err := strconv.Atoi(s)
		if err != nil || v > maxRandom {
			return nil, fmt.Errorf("want whole numbers in brackets, got %q", s)
		}
		args = append(args, v)
	}
	switch name {
	case "$randomNumber":
		low, high := 0, 1
		switch len(args) {
		case 0:
		case 1:
			high = args[0]
		case 2:
			low, high = min(args[0], args[1]), max(args[0], args[1])
		default:
			return nil, errors.New("want two numbers")
		}
		return func() string { return strconv.Itoa(low + rand.IntN(high-low+1)) }, nil
	case "$randomString":
		size := 10
		if len(args) > 0 {
			size = args[0]
		}
		if len(args) > 1 || size > maxRandomString {
			return nil, fmt.Errorf("want one length, at most %d", maxRandomString)
		}
		return func() string { return randomString(size) }, nil
	}
	return nil, errors.New("no such function" + spelling.Suggest(name, []string{"$randomNumber", "$randomString"}))
}

func randomString(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

// errUnset fails a user that uses a variable before it has a value.
var errUnset = errors.New("artillery: a variable has no value")

func (p *part) value(v *loadtest.Vars) (any, error) {
	switch {
	case p.call != nil:
		return p.call(), nil
	case p.path == nil:
		return p.lit, nil
	}
	if root, ok := v.Get(p.path[0]); ok {
		if x, ok := walk(root, p.path[1:]); ok {
			return x, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", errUnset, strings.Join(p.path, "."))
}

// value renders the template for a user. The result is text, unless the template is whole.
func (t *template) value(v *loadtest.Vars) (any, error) {
	if t.whole {
		return t.parts[0].value(v)
	}
	b, err := t.Append(nil, v)
	return string(b), err
}

// Append implements loadtest.Template.
func (t *template) Append(dst []byte, v *loadtest.Vars) ([]byte, error) {
	for i := range t.parts {
		x, err := t.parts[i].value(v)
		if err != nil {
			return dst, err
		}
		dst = appendText(dst, x)
	}
	return dst, nil
}

var _ loadtest.Template = (*template)(nil)

// constant reports whether the template is always the same.
func (t *template) constant() bool {
	return !slices.ContainsFunc(t.parts, func(p part) bool { return p.path != nil || p.call != nil })
}

// prefix returns the constant text at the start of the template.
func (t *template) prefix() string {
	var b []byte
	for _, p := range t.parts {
		if p.path != nil || p.call != nil {
			break
		}
		b = appendText(b, p.lit)
	}
	return string(b)
}

// loadtest returns the template for a plan. A constant template is rendered now.
func (t *template) loadtest() loadtest.Template {
	if !t.constant() {
		return t
	}
	b, _ := t.Append(nil, nil)
	return loadtest.Text(b)
}

// fixed returns the value of a scalar that has to be known at compile time: its templates must not refer to variables
// of users.
func (ns *names) fixed(n *node) (any, error) {
	if n.kind != text {
		return n.value(), nil
	}
	t, err := ns.parse(n, n.text)
	if err != nil {
		return nil, err
	}
	return t.value(nil)
}

// fixedText is like fixed, for text and numbers.
func (ns *names) fixedText(n *node) (string, error) {
	v, err := ns.fixed(n)
	if err != nil {
		return "", err
	}
	switch v.(type) {
	case string, float64:
		return string(appendText(nil, v)), nil
	}
	return "", n.fault("want text, got %s", n.kind)
}

// fixedNumber is like fixed, for numbers and numbers written as text.
func (ns *names) fixedNumber(n *node) (float64, error) {
	v, err := ns.fixed(n)
	if err != nil {
		return 0, err
	}
	f, ok := toNumber(v)
	if !ok || v == nil || v == "" || f < 0 {
		return 0, n.fault("want a number, got %s", appendJSON(nil, n.value())) // as written, because v may be a secret
	}
	return f, nil
}

// filled returns a value with all of its templates rendered, which have to be known at compile time.
func (ns *names) filled(n *node) (any, error) {
	switch n.kind {
	case text:
		return ns.fixed(n)
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			v, err := ns.filled(item)
			if err != nil {
				return nil, err
			}
			items[i] = v
		}
		return items, nil
	case object:
		fields := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			v, err := ns.filled(f.value)
			if err != nil {
				return nil, err
			}
			fields[f.key] = v
		}
		return fields, nil
	}
	return n.value(), nil
}

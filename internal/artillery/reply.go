package artillery

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// answer compiles match and capture of a send.
func (f *flow) answer(n *node) (*loadtest.Reply, error) {
	r := &loadtest.Reply{Timeout: f.reply}
	for _, m := range n.get("match").listed() {
		if err := f.match(r, m); err != nil {
			return nil, err
		}
	}
	for _, c := range n.get("capture").listed() {
		if err := f.capture(r, c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (f *flow) match(r *loadtest.Reply, n *node) error {
	name, where, err := f.part(n, "value")
	if err != nil {
		return err
	}
	value := n.get("value")
	if value == nil {
		return n.fault("want value: what this part must be")
	}
	if value.kind == list || value.kind == object {
		return value.fault("want a single value: artillery never considers lists or objects equal")
	}
	t := &template{parts: []part{{lit: value.value()}}}
	if value.kind == text {
		if t, err = f.names.parse(value, value.text); err != nil {
			return err
		}
	}
	if lenient(n) { // checked, but without effect
		return nil
	}
	r.Match = append(r.Match, loadtest.Match{Name: name, Part: asText{where}, Value: t.loadtest()})
	return nil
}

func (f *flow) capture(r *loadtest.Reply, n *node) error {
	name, part, err := f.part(n, "as")
	if err != nil {
		return err
	}
	as := n.get("as")
	if as == nil || as.kind != text || as.text == "" {
		return n.fault("want as: the name of the variable")
	}
	r.Capture = append(r.Capture, loadtest.Capture{Name: name, Part: notEmpty{part}, As: as.text, Optional: lenient(n)})
	return nil
}

// lenient reports whether a failed condition does not fail the user.
func lenient(n *node) bool {
	s := n.get("strict")
	return s != nil && s.kind == boolean && !s.truth
}

// part compiles the description of a part of a message.
func (f *flow) part(n *node, more string) (name string, part loadtest.Extractor, err error) {
	for _, key := range []string{"header", "xpath", "selector"} {
		if v := n.get(key); v != nil {
			return "", nil, v.fault("%s is not supported: want json or regexp", key)
		}
	}
	if err := n.known("json", "regexp", "group", "flags", "strict", more); err != nil {
		return "", nil, err
	}
	switch path, expr := n.get("json"), n.get("regexp"); {
	case path != nil && path.kind == text:
		if name, err = f.fixed(path); err == nil {
			part, err = parsePath(path, name)
		}
	case expr != nil && expr.kind == text:
		if name, err = f.fixed(expr); err == nil {
			part, err = parseExpression(n, name)
		}
	default:
		err = n.fault("want json or regexp: the part of the message")
	}
	return name, part, err
}

// fixed returns a text that has to be the same for all users.
func (f *flow) fixed(n *node) (string, error) {
	t, err := f.names.parse(n, n.text)
	if err != nil {
		return "", err
	}
	if !t.constant() {
		return "", n.fault("this must be the same for all users: it cannot contain their variables")
	}
	return t.prefix(), nil
}

// jsonPart is a part of a JSON message, given by its path.
type jsonPart []string

// parsePath parses a JSONPath that leads to a single place.
func parsePath(n *node, s string) (loadtest.Extractor, error) {
	path := strings.TrimPrefix(s, "$")
	if strings.ContainsAny(path, "*?,:@^~()") || strings.Contains(path, "..") {
		return nil, n.fault("the path %s leads to several places: want one like $.items[0].name", s)
	}
	p := steps(path)
	if p == nil && path != "" {
		return nil, n.fault("%s is not a path: want one like $.items[0].name", s)
	}
	return jsonPart(p), nil
}

// Extract implements loadtest.Extractor. As in artillery, a message that is neither an object nor a list has no parts.
func (p jsonPart) Extract(message []byte) (any, bool) {
	var v any
	if json.Unmarshal(message, &v) != nil {
		return nil, false
	}
	switch v.(type) {
	case map[string]any, []any:
		return walk(v, p)
	}
	return nil, false
}

var _ loadtest.Extractor = jsonPart(nil)

// expression is a part of a message that matches a regular expression, or one group of the match.
type expression struct {
	re    *regexp.Regexp
	group int
}

func parseExpression(n *node, s string) (loadtest.Extractor, error) {
	flags := ""
	if v := n.get("flags"); v != nil {
		for _, r := range v.text {
			switch r {
			case 'i', 'm', 's':
				flags += string(r)
			case 'g', 'u', 'y', 'd': // without effect on the first match
			default:
				return nil, v.fault("unknown flag %c", r)
			}
		}
	}
	if flags != "" {
		flags = "(?" + flags + ")"
	}
	re, err := regexp.Compile(flags + s)
	if err != nil {
		return nil, n.get("regexp").fault("%s: look-around and back-references are not supported", err)
	}
	e := expression{re: re}
	g := n.get("group")
	if g == nil {
		return e, nil
	}
	name := string(appendText(nil, g.value()))
	if i, err := strconv.Atoi(name); err == nil {
		e.group = i
	} else {
		e.group = re.SubexpIndex(name)
	}
	if e.group < 0 || e.group > re.NumSubexp() {
		return nil, g.fault("the expression has no group %s", name)
	}
	return e, nil
}

// Extract implements loadtest.Extractor.
func (e expression) Extract(message []byte) (any, bool) {
	m := e.re.FindSubmatchIndex(message)
	if m == nil || m[2*e.group] < 0 {
		return nil, false
	}
	return string(message[m[2*e.group]:m[2*e.group+1]]), true
}

var _ loadtest.Extractor = expression{}

// asText converts a part to the text that it is compared as.
type asText struct{ part loadtest.Extractor }

// Extract implements loadtest.Extractor.
func (p asText) Extract(message []byte) (any, bool) {
	v, ok := p.part.Extract(message)
	if !ok {
		return nil, false
	}
	return string(appendText(nil, v)), true
}

var _ loadtest.Extractor = asText{}

// notEmpty treats an empty part as missing, as artillery does for captures.
type notEmpty struct{ part loadtest.Extractor }

// Extract implements loadtest.Extractor.
func (p notEmpty) Extract(message []byte) (any, bool) {
	v, ok := p.part.Extract(message)
	return v, ok && v != ""
}

var _ loadtest.Extractor = notEmpty{}

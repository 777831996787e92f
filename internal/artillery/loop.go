package artillery

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// Limits of loops.
const (
	maxTurns    = 1_000_000_000
	maxElements = 1_000_000 // of loops whose number of iterations differs by user
)

// loopNames are the names by which templates inside a loop refer to the current iteration, and the variables behind
// them. Each loop has variables of its own, so that nested loops do not interfere.
type loopNames struct {
	index, element       string // names in templates
	indexVar, elementVar string
}

// find returns the variable behind a name.
func (l *loopNames) find(name string) string {
	switch name {
	case l.index:
		return l.indexVar
	case l.element:
		return l.elementVar
	}
	return ""
}

// turns describes the iterations of a loop.
type turns struct {
	from, count int
	// over returns the elements; if list is not set, only their number counts.
	over func(v *loadtest.Vars) (elements []any, from int, err error)
	list bool // over returns elements
}

// loop compiles a loop.
func (f *flow) loop(n *node) ([]loadtest.Step, error) {
	if w := n.get("whileTrue"); w != nil {
		return nil, w.fault("functions of a processor are not supported: Node.js is not available")
	}
	if err := n.known("loop", "count", "over", "loopValue", "loopElement"); err != nil {
		return nil, err
	}
	t, err := f.turns(n)
	if err != nil {
		return nil, err
	}
	f.c.loops++
	id := strconv.Itoa(f.c.loops)
	l := loopNames{"$loopCount", "$loopElement", "$loopCount#" + id, "$loopElement#" + id}
	for key, name := range map[string]*string{"loopValue": &l.index, "loopElement": &l.element} {
		if v := n.get(key); v != nil {
			if err := v.is(text); err != nil {
				return nil, err
			}
			*name = v.text
		}
	}
	items, err := flat(n.get("loop"))
	if err != nil {
		return nil, err
	}
	f.names.loops = append(f.names.loops, l)
	steps, err := f.steps(items)
	f.names.loops = f.names.loops[:len(f.names.loops)-1]
	if err != nil || t.count == 0 && t.over == nil {
		return nil, err
	}
	return f.assemble(t, l, steps), nil
}

// assemble creates the steps of a loop. If a template refers to the current iteration, each iteration begins with a
// step that sets the variables.
func (f *flow) assemble(t turns, l loopNames, steps []loadtest.Step) []loadtest.Step {
	nextVar := l.indexVar + "+"
	element := f.names.used[l.elementVar]
	told := element || f.names.used[l.indexVar]
	begin := func(v *loadtest.Vars, from int) {
		if told {
			v.Set(nextVar, float64(from))
		}
	}
	if told {
		steps = append([]loadtest.Step{loadtest.Call{Func: func(v *loadtest.Vars) {
			next, _ := v.Get(nextVar)
			i, _ := next.(float64)
			v.Set(l.indexVar, i)
			v.Set(nextVar, i+1)
			switch {
			case !element:
			case t.list:
				x, _ := v.Get("$loopElement") // set by the loop of the plan
				v.Set(l.elementVar, x)
			default:
				v.Set(l.elementVar, float64(t.from)) // as artillery does
			}
		}}}, steps...)
	}
	if t.over != nil {
		return []loadtest.Step{loadtest.Loop{Steps: steps, Over: func(v *loadtest.Vars) ([]any, error) {
			elements, from, err := t.over(v)
			begin(v, from)
			return elements, err
		}}}
	}
	loop := loadtest.Loop{Count: t.count, Steps: steps}
	if !told {
		return []loadtest.Step{loop}
	}
	start := func(v *loadtest.Vars) { begin(v, t.from) }
	return []loadtest.Step{loadtest.Call{Func: start}, loop}
}

// turns compiles count or over.
func (f *flow) turns(n *node) (turns, error) {
	if over := n.get("over"); over != nil {
		if c := n.get("count"); c != nil {
			return turns{}, c.fault("a loop with over cannot have count")
		}
		return f.over(over)
	}
	count := n.get("count")
	if !count.truthy() {
		if count == nil {
			count = n
		}
		return turns{}, count.fault("this loop would never end: give it a count above 0")
	}
	if count.kind != text {
		return f.count(count, count.value())
	}
	t, err := f.names.parse(count, count.text)
	if err != nil {
		return turns{}, err
	}
	if t.constant() {
		v, err := t.value(nil)
		if err != nil {
			return turns{}, err
		}
		return f.count(count, v)
	}
	return turns{over: func(v *loadtest.Vars) ([]any, int, error) {
		x, err := t.value(v)
		if err != nil {
			return nil, 0, err
		}
		known, err := f.count(count, x)
		if err == nil && known.count > maxElements {
			err = count.fault("want at most %d iterations", maxElements)
		}
		if err != nil {
			return nil, 0, err
		}
		return make([]any, known.count), known.from, nil
	}}, nil
}

// rangeForm matches what artillery takes for a range, such as 1-15. The end is exclusive.
var rangeForm = regexp.MustCompile(`\d-\d`)

// count converts a value to a number of iterations, or a range.
func (f *flow) count(n *node, v any) (t turns, err error) {
	to, ok := toNumber(v)
	from := 0.0
	if s, isText := v.(string); isText && !ok && rangeForm.MatchString(s) {
		a, b, _ := strings.Cut(s, "-")
		b, _, _ = strings.Cut(b, "-")
		var aIs, bIs bool
		from, aIs = toNumber(a)
		to, bIs = toNumber(b)
		ok = aIs && bIs
	}
	switch {
	case !ok:
		return t, n.fault("%s is not a number of iterations: want one, or a range like 1-10", appendJSON(nil, v))
	case to == -1:
		return t, n.fault("this loop would never end: give it a count above 0")
	case to-from > maxTurns || from > maxTurns || from != math.Trunc(from):
		return t, n.fault("want at most %d iterations", maxTurns)
	}
	return turns{from: int(from), count: int(max(math.Ceil(to-from), 0))}, nil
}

// over compiles the elements of a loop: a list, or the variable that contains one.
func (f *flow) over(n *node) (turns, error) {
	if n.kind == list {
		elements, err := f.c.config.filled(n)
		if err != nil {
			return turns{}, err
		}
		return overList(func(*loadtest.Vars) (any, error) { return elements, nil }), nil
	}
	if n.kind != text || n.text == "" {
		return turns{}, n.fault("want a list, or the name of a variable that is one")
	}
	for _, c := range f.c.inline.vars {
		if c.name == n.text && !c.hasList() {
			return turns{}, n.fault("each user gets one item of %s, and not the list: "+
				"nest it in another list", n.text)
		}
	}
	p, err := f.names.name(n.text)
	if err != nil {
		return turns{}, n.fault("%s", err)
	}
	return overList(p.value), nil
}

func overList(value func(*loadtest.Vars) (any, error)) turns {
	return turns{list: true, over: func(v *loadtest.Vars) ([]any, int, error) {
		x, err := value(v)
		elements, _ := x.([]any) // artillery makes no iterations over anything else
		return elements, 0, err
	}}
}

// hasList reports whether the variable may be a list.
func (c *choice) hasList() bool {
	for _, v := range c.from {
		if _, ok := v.([]any); ok {
			return true
		}
	}
	return false
}

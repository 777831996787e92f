package artillery

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// Bounds of loops.
const (
	maxTurns    = 1_000_000_000
	maxElements = 1_000_000 // turns that are known for each user only
)

// loopNames are the names that templates within a loop have for where it is, and the variables that they stand for: of
// its own, so that loops in loops do not disturb each other.
type loopNames struct {
	index, element       string // names
	indexVar, elementVar string
}

// find is the variable behind a name.
func (l *loopNames) find(name string) string {
	switch name {
	case l.index:
		return l.indexVar
	case l.element:
		return l.elementVar
	}
	return ""
}

// turns is how often a loop goes round, and from which number it counts.
type turns struct {
	from, count int
	// over gives the elements, or as many as there are turns.
	over func(v *loadtest.Vars) (elements []any, from int, err error)
	list bool // over gives elements
}

// loop makes a loop.
func (f *flow) loop(n *node) ([]loadtest.Step, error) {
	if w := n.get("whileTrue"); w != nil {
		return nil, w.fault("functions of a processor are not called: nothing of Node.js is here")
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
	return f.round(t, l, steps), nil
}

// round puts a loop together. If anything asks where it is, each turn begins with saying so.
func (f *flow) round(t turns, l loopNames, steps []loadtest.Step) []loadtest.Step {
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
				x, _ := v.Get("$loopElement") // which the loop of the plan sets
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

// turns reads count or over.
func (f *flow) turns(n *node) (turns, error) {
	if over := n.get("over"); over != nil {
		if c := n.get("count"); c != nil {
			return turns{}, c.fault("a loop with over has no count")
		}
		return f.over(over)
	}
	count := n.get("count")
	if !count.truthy() {
		if count == nil {
			count = n
		}
		return turns{}, count.fault("this loop would go on for ever: give it a count above 0")
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
			err = count.fault("want at most %d turns", maxElements)
		}
		if err != nil {
			return nil, 0, err
		}
		return make([]any, known.count), known.from, nil
	}}, nil
}

// rangeForm is how artillery knows a range: 1-15, of which the end is not reached.
var rangeForm = regexp.MustCompile(`\d-\d`)

// count is a number of turns, or a range.
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
		return t, n.fault("%s is no number of turns: want one, or a range like 1-10", appendJSON(nil, v))
	case to == -1:
		return t, n.fault("this loop would go on for ever: give it a count above 0")
	case to-from > maxTurns || from > maxTurns || from != math.Trunc(from):
		return t, n.fault("want at most %d turns", maxTurns)
	}
	return turns{from: int(from), count: int(max(math.Ceil(to-from), 0))}, nil
}

// over reads elements: a list, or the variable that holds one.
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
			return turns{}, n.fault("each user has one of the items of %s, and not the list: "+
				"write it as a list in a list", n.text)
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
		elements, _ := x.([]any) // of anything else artillery makes no turn
		return elements, 0, err
	}}
}

// hasList says whether the variable may be a list.
func (c *choice) hasList() bool {
	for _, v := range c.from {
		if _, ok := v.([]any); ok {
			return true
		}
	}
	return false
}

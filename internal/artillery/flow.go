package artillery

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// Limits of scenarios.
const (
	maxScenarios = 1000
	maxWeight    = 1e6
)

// scenarios compiles the list of scenarios.
func (c *compiler) scenarios(n *node) error {
	if err := n.is(list); err != nil {
		return err
	}
	if len(n.items) == 0 || len(n.items) > maxScenarios {
		return n.fault("want 1 to %d scenarios", maxScenarios)
	}
	chosen := false
	for i, item := range n.items {
		s, err := c.scenario(item)
		if err != nil {
			return err
		}
		if s.Name == "" {
			s.Name = strconv.Itoa(i) // the name that artillery uses
		}
		chosen = chosen || s.Weight > 0
		c.plan.Scenarios = append(c.plan.Scenarios, s)
	}
	if !chosen {
		return n.fault("all scenarios have weight 0: no user does anything")
	}
	return nil
}

func (c *compiler) scenario(n *node) (s loadtest.Scenario, err error) {
	for _, key := range []string{"beforeScenario", "afterScenario"} {
		if f := n.get(key); f != nil {
			return s, f.fault("functions of a processor are not supported: Node.js is not available")
		}
	}
	if err := n.known("name", "engine", "weight", "flow"); err != nil {
		return s, err
	}
	if name := n.get("name"); name != nil {
		if s.Name, err = c.config.fixedText(name); err != nil {
			return s, err
		}
	}
	if err := c.isWS(n); err != nil {
		return s, err
	}
	if s.Weight, err = c.weight(n.get("weight")); err != nil {
		return s, err
	}
	steps := n.get("flow")
	if steps == nil {
		return s, n.fault("want flow: the steps")
	}
	f := c.flow(steps)
	s.Steps, err = f.all(steps)
	return s, err
}

// isWS refuses scenarios of other engines.
func (c *compiler) isWS(n *node) error {
	engine, where := c.engine, n
	if e := n.get("engine"); e != nil {
		engine, where = e.text, e
	}
	switch engine {
	case "ws":
		return nil
	case "":
		return where.fault("the default engine of artillery is http: write engine: ws")
	}
	return where.fault("engine %q is not supported: want ws", engine)
}

// weight compiles the weight of a scenario. Like artillery, it drops fractions.
func (c *compiler) weight(n *node) (float64, error) {
	if n == nil {
		return 1, nil
	}
	v, err := c.config.fixedNumber(n)
	if err != nil {
		return 0, err
	}
	if v > maxWeight {
		return 0, n.fault("want at most %.0f", maxWeight)
	}
	if v != math.Trunc(v) {
		c.warn(n, "artillery drops the fraction")
	}
	if v < 1 {
		return -1, nil
	}
	return math.Trunc(v), nil
}

// flow compiles the steps of one scenario.
type flow struct {
	c     *compiler
	names *names
	reply time.Duration // timeout of replies
}

// flow prepares the compilation of a scenario. Its variables are those of all users and those that any of its steps
// captures.
func (c *compiler) flow(steps *node) *flow {
	users := make(map[string]bool, len(c.users))
	for name := range c.users {
		users[name] = true
	}
	captures(steps, users)
	return &flow{
		c:     c,
		names: &names{consts: c.config.consts, users: users, used: c.used},
		reply: c.ws.reply,
	}
}

// captures collects the names of captured values.
func captures(n *node, found map[string]bool) {
	for _, item := range n.items {
		captures(item, found)
	}
	for _, f := range n.fields {
		if f.key == "as" && f.value.kind == text {
			found[f.value.text] = true
		}
		captures(f.value, found)
	}
}

// all compiles the steps of a flow. It adds a connect step if the flow does not begin with one.
func (f *flow) all(n *node) ([]loadtest.Step, error) {
	items, err := flat(n)
	if err != nil {
		return nil, err
	}
	var first *node
	if len(items) > 0 && items[0].get("connect") != nil {
		if err := items[0].known("connect"); err != nil {
			return nil, err
		}
		first, items = items[0].get("connect"), items[1:]
	}
	connect, err := f.connect(first)
	if err != nil {
		return nil, err
	}
	steps, err := f.steps(items)
	return append([]loadtest.Step{connect}, steps...), err
}

// flat returns a list of steps with nested lists expanded; they come from aliases.
func flat(n *node) (items []*node, err error) {
	if err := n.is(list); err != nil {
		return nil, err
	}
	for _, item := range n.items {
		if item.kind == list {
			items = append(items, item.items...)
		} else {
			items = append(items, item)
		}
	}
	for _, item := range items {
		if err := item.is(object); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (f *flow) steps(items []*node) (steps []loadtest.Step, err error) {
	for _, item := range items {
		s, err := f.step(item)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s...)
	}
	return steps, nil
}

// actions returns the keys of which every step has one.
func actions() []string { return []string{"connect", "send", "think", "loop", "log"} }

// foreign lists known steps that are not supported, with the reason.
var foreign = map[string]string{
	"function": "functions of a processor are not supported: Node.js is not available",
	"wait":     "waiting without sending is not done here: put capture or match into the send before it",
	"emit":     "this is a step of engine socketio", "namespace": "this is a step of engine socketio",
	"get": "this is a step of engine http", "post": "this is a step of engine http",
	"put": "this is a step of engine http", "patch": "this is a step of engine http",
	"delete": "this is a step of engine http", "head": "this is a step of engine http",
	"parallel": "this is a step of engine http",
}

func (f *flow) step(n *node) ([]loadtest.Step, error) {
	action := ""
	for _, field := range n.fields {
		if why := foreign[field.key]; why != "" {
			return nil, &Error{File: n.file, Line: field.line, Key: join(n.path, field.key), Reason: why}
		}
		if slices.Contains(actions(), field.key) && action == "" {
			action = field.key
		}
	}
	v := n.get(action)
	switch action {
	case "connect":
		return nil, v.fault("connect must be the first step of a flow: artillery ignores it elsewhere")
	case "send":
		if err := n.known("send"); err != nil {
			return nil, err
		}
		return f.send(v)
	case "think":
		if err := n.known("think", "jitter"); err != nil {
			return nil, err
		}
		return f.think(v, n.get("jitter"))
	case "loop":
		return f.loop(n)
	case "log":
		if err := n.known("log"); err != nil {
			return nil, err
		}
		if err := v.is(text); err != nil {
			return nil, err
		}
		_, err := f.names.parse(v, v.text) // logs nothing, but has to be valid
		return nil, err
	}
	if len(n.fields) == 0 {
		return nil, n.fault("the step is empty")
	}
	return nil, n.known(actions()...)
}

// think compiles a step that waits.
func (f *flow) think(n, jitter *node) ([]loadtest.Step, error) {
	if jitter == nil {
		jitter = f.c.jitter
	}
	spread, err := f.spread(jitter)
	if err != nil {
		return nil, err
	}
	fail := func(v any) error { // setTimeout's treatment of other values is not worth imitating
		return n.fault("%s is not a duration: want whole seconds, or text like 200ms or 1.5s", appendJSON(nil, v))
	}
	t := &template{parts: []part{{lit: n.value()}}, whole: true}
	if n.kind == text {
		if t, err = f.names.parse(n, n.text); err != nil {
			return nil, err
		}
	}
	if !t.constant() {
		return []loadtest.Step{loadtest.Think{Func: func(v *loadtest.Vars) (time.Duration, error) {
			x, err := t.value(v)
			if err != nil {
				return 0, err
			}
			d, ok := pause(x)
			if !ok {
				return 0, fail(x)
			}
			return spread(d), nil
		}}}, nil
	}
	x, err := t.value(nil)
	if err != nil {
		return nil, err
	}
	d, ok := pause(x)
	if !ok {
		return nil, fail(x)
	}
	if _, fraction, _ := seconds(x); fraction {
		s := string(appendText(nil, x))
		f.c.warn(n, "artillery takes %s for milliseconds and waits at least 1 ms: write %ss for seconds", s, s)
	}
	if jitter == nil {
		return []loadtest.Step{loadtest.Think{For: d}}, nil
	}
	about := func(*loadtest.Vars) (time.Duration, error) { return spread(d), nil }
	return []loadtest.Step{loadtest.Think{Func: about}}, nil
}

// pause returns the duration of a think. A fraction of a millisecond waits 1 ms, and so does a fractional number of
// milliseconds, as artillery does: Node.js cannot parse the delay that artillery computes from it.
func pause(x any) (time.Duration, bool) {
	d, fraction, ok := seconds(x)
	if _, isText := x.(string); ok && fraction && !isText {
		return time.Millisecond, true
	}
	if ok && d > 0 {
		d = max(d.Truncate(time.Millisecond), time.Millisecond)
	}
	return max(d, 0), ok && x != nil && x != "" && x != true && x != false
}

// spread returns what jitter does to a duration. Jitter is a percentage or a number of milliseconds, half of it below
// the duration and half above.
func (f *flow) spread(n *node) (func(time.Duration) time.Duration, error) {
	if n == nil {
		return func(d time.Duration) time.Duration { return d }, nil
	}
	s, err := f.c.config.fixedText(n)
	if err != nil {
		return nil, err
	}
	digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	amount, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return nil, n.fault("want milliseconds, or a part of the time like 20%%")
	}
	return func(d time.Duration) time.Duration {
		by := time.Duration(amount) * time.Millisecond
		if percent {
			by = time.Duration(float64(d) / 100 * float64(amount))
		}
		return max(d-by+time.Duration(rand.Float64()*2*float64(by)), 0)
	}, nil
}

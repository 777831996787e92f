package artillery

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/internal/spelling"
)

// check is a condition that has to hold at the end of a run.
type check struct {
	words string // as written in the script
	expr  expr
}

// ensure compiles the conditions of artillery's plugin ensure.
func (c *compiler) ensure(n *node) (func(*loadtest.Report) []string, error) {
	err := n.known("thresholds", "conditions", "maxErrorRate", "min", "max", "median", "p95", "p99")
	if err != nil {
		return nil, err
	}
	var checks []check
	add := func(n *node, words, expression string) error {
		e, err := parseExpr(expression, isMetric)
		if err != nil {
			return n.fault("%s: %s", words, err)
		}
		checks = append(checks, check{words, e})
		return nil
	}
	for _, t := range n.get("thresholds").listed() {
		if err := c.threshold(t, add); err != nil {
			return nil, err
		}
	}
	for _, cond := range n.get("conditions").listed() {
		if err := c.condition(cond, add); err != nil {
			return nil, err
		}
	}
	for _, f := range n.fields {
		name, limit := f.key, 0.0
		if name == "thresholds" || name == "conditions" {
			continue
		}
		if limit, err = c.config.fixedNumber(f.value); err != nil {
			return nil, err
		}
		words := name + " < " + plain(limit)
		expression := words
		if name == "maxErrorRate" {
			expression = "(vusers.created - vusers.completed) * 100 <= " + plain(limit) + " * vusers.created"
		}
		if err := add(f.value, words, expression); err != nil {
			return nil, err
		}
	}
	if len(checks) == 0 {
		return nil, nil
	}
	return func(r *loadtest.Report) []string { return judge(checks, measures(r)) }, nil
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// threshold compiles a metric that has to stay below a value.
func (c *compiler) threshold(n *node, add func(n *node, words, expression string) error) error {
	if err := n.is(object); err != nil {
		return err
	}
	if len(n.fields) != 1 {
		return n.fault("want one metric and the value that it must stay below")
	}
	f := n.fields[0]
	limit, err := c.config.fixedNumber(f.value)
	if err != nil {
		return err
	}
	words := f.key + " < " + plain(limit)
	return add(f.value, words, words)
}

func (c *compiler) condition(n *node, add func(n *node, words, expression string) error) error {
	if err := n.known("expression", "strict"); err != nil {
		return err
	}
	e := n.get("expression")
	if e == nil {
		return n.fault("want expression")
	}
	s, err := c.config.fixedText(e)
	if err != nil {
		return err
	}
	if lenient(n) {
		_, err := parseExpr(s, isMetric)
		if err != nil {
			return e.fault("%s: %s", s, err)
		}
		c.warn(n, "the condition is ignored: it is not strict, so it could not fail the run")
		return nil
	}
	return add(e, s, s)
}

// judge returns the checks that do not hold, as written in the script.
func judge(checks []check, m map[string]float64) (failures []string) {
	for _, c := range checks {
		v, err := c.expr.eval(m)
		switch {
		case err != nil:
			failures = append(failures, fmt.Sprintf("%s: %s", c.words, err))
		case v == 0 || v != v:
			failures = append(failures, c.words+seen(c.expr, m))
		}
	}
	return failures
}

// seen returns the values of the metrics in an expression.
func seen(e expr, m map[string]float64) string {
	var names []string
	var look func(expr)
	look = func(e expr) {
		switch e := e.(type) {
		case metric:
			if _, ok := m[string(e)]; ok && !slices.Contains(names, string(e)) {
				names = append(names, string(e))
			}
		case operation:
			if e.a != nil {
				look(e.a)
			}
			look(e.b)
		}
	}
	look(e)
	if len(names) == 0 {
		return ""
	}
	for i, name := range names {
		names[i] = name + " is " + strconv.FormatFloat(m[name], 'f', -1, 64)
	}
	return ": " + strings.Join(names, ", ")
}

// timesOf returns times by artillery's names, in milliseconds. Artillery does not time messages, and its
// http.response_time does not come from WebSockets. Here http.response_time is the round-trip time of messages with
// capture or match, and so are bare names such as p99.
func timesOf(r *loadtest.Report) map[string]loadtest.Quantiles {
	t := map[string]loadtest.Quantiles{
		"": r.RTTSeconds, "http.response_time.": r.RTTSeconds, "rtt.": r.RTTSeconds, "connect.": r.ConnectSeconds,
	}
	if r.Users != nil {
		t["vusers.session_length."] = r.Users.SessionSeconds
	}
	return t
}

func quantiles(q loadtest.Quantiles) map[string]*float64 {
	return map[string]*float64{
		"median": q.P50, "p50": q.P50, "p90": q.P90, "p95": q.P95, "p99": q.P99, "p999": q.P999, "max": q.Max,
	}
}

// measures returns the metrics of a run by artillery's names.
func measures(r *loadtest.Report) map[string]float64 {
	m := map[string]float64{
		"websocket.messages_sent":     float64(r.Messages.Sent),
		"websocket.messages_received": float64(r.Messages.Received),
		"websocket.send_rate":         r.Messages.SentPerSecond,
		"websocket.receive_rate":      r.Messages.ReceivedPerSecond,
	}
	if u := r.Users; u != nil {
		m["vusers.created"] = float64(u.Arrived)
		m["vusers.completed"] = float64(u.Completed)
		m["vusers.failed"] = float64(u.Failed)
		m["vusers.skipped"] = float64(u.Skipped)
	}
	for prefix, q := range timesOf(r) {
		for name, v := range quantiles(q) {
			if v != nil {
				m[prefix+name] = *v * 1000
			}
		}
	}
	return m
}

// isMetric returns an error if no report has the metric.
func isMetric(name string) error {
	one := 0.0
	q := loadtest.Quantiles{P50: &one, P90: &one, P95: &one, P99: &one, P999: &one, Max: &one}
	all := measures(&loadtest.Report{
		RTTSeconds: q, ConnectSeconds: q, Users: &loadtest.Users{SessionSeconds: q},
	})
	if _, ok := all[name]; ok {
		return nil
	}
	var known []string
	for k := range all {
		known = append(known, k)
	}
	return fmt.Errorf("no metric %q%s", name, spelling.Suggest(name, known))
}

package loadtest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/human"
)

// Check is a condition that fails a run: a metric, a comparison and a value, such as rtt.p99>50ms. Use [ParseCheck] to
// create one.
type Check struct {
	text    string
	metric  string
	op      string
	value   float64
	percent bool
}

// checkForm matches a metric, an operator and a value.
var checkForm = regexp.MustCompile(`^\s*([a-zA-Z][\w.]*)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*$`)

// quantileNames lists the suffixes of time metrics.
var quantileNames = []string{"p50", "p90", "p95", "p99", "p999", "max"}

// timeMetrics lists the metrics that are times.
var timeMetrics = []string{"connect", "rtt", "uncorrected_rtt", "late", "session"}

// countMetrics lists the metrics that are numbers. Those in wholeMetrics may also be compared with a percentage:
// failed>1%.
var countMetrics = []string{
	"opened", "failed", "peak", "closed", "sent", "received", "unanswered", "missing", "duplicates", "errors", "published",
	"delivered", "sent_per_second", "received_per_second", "users.failed", "users.completed", "users.skipped",
	"server.cpu_seconds", "server.rss_bytes", "server.bytes_per_connection",
}

var wholeMetrics = []string{"failed", "closed", "unanswered", "missing", "users.failed"}

// ParseCheck parses a condition. The error says what is expected.
func ParseCheck(s string) (Check, error) {
	bad := func(why string) (Check, error) {
		return Check{}, fmt.Errorf("loadtest: condition %q: %s, like rtt.p99>50ms, failed>0 or closed.1006>=1", s, why)
	}
	m := checkForm.FindStringSubmatch(s)
	if m == nil {
		return bad("want a metric, one of > >= < <= == !=, and a value")
	}
	c := Check{text: strings.TrimSpace(s), metric: strings.TrimPrefix(m[1], "messages."), op: m[2]}
	head, tail, _ := strings.Cut(c.metric, ".")
	switch {
	case slices.Contains(timeMetrics, head):
		if !slices.Contains(quantileNames, tail) {
			return bad(head + " has " + strings.Join(quantileNames, ", "))
		}
		d, err := time.ParseDuration(m[3])
		if err != nil || d < 0 {
			return bad("want a duration with its unit")
		}
		c.value = d.Seconds()
		return c, nil
	case head == "closed" && tail != "":
		if n, err := strconv.Atoi(tail); err != nil || n < 1000 || n > 4999 {
			return bad("want a close code")
		}
	case !slices.Contains(countMetrics, c.metric):
		return bad("unknown metric " + m[1] + "; known are " + strings.Join(slices.Concat(timeMetrics, countMetrics), ", "))
	}
	text, percent := strings.CutSuffix(m[3], "%")
	if percent && !slices.Contains(wholeMetrics, c.metric) {
		return bad("want a number; a percentage is possible with " + strings.Join(wholeMetrics, ", "))
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != v || v < 0 {
		return bad("want a number")
	}
	c.value, c.percent = v, percent
	return c, nil
}

// errNotMeasured is returned for a metric that has no value.
var errNotMeasured = errors.New("nothing was measured")

// Failed returns why the run has failed by this condition, or "" if it has not. A condition on a time that was not
// measured fails the run.
func (c Check) Failed(r *Report) string {
	got, whole, err := c.measure(r)
	if err != nil {
		return fmt.Sprintf("%s: %v", c.text, err)
	}
	if c.percent {
		if whole == 0 {
			return ""
		}
		got = 100 * got / whole
	}
	holds := map[string]bool{
		">": got > c.value, ">=": got >= c.value, "<": got < c.value, "<=": got <= c.value, "==": got == c.value,
		"!=": got != c.value,
	}[c.op]
	if !holds {
		return ""
	}
	head, _, _ := strings.Cut(c.metric, ".")
	switch {
	case slices.Contains(timeMetrics, head):
		return fmt.Sprintf("%s: it is %s", c.text, human.Seconds(got))
	case c.percent:
		return fmt.Sprintf("%s: it is %.3g%%", c.text, got)
	default:
		return fmt.Sprintf("%s: it is %s", c.text, strconv.FormatFloat(got, 'f', -1, 64))
	}
}

// measure returns the value of the metric, and the total that a percentage refers to.
func (c Check) measure(r *Report) (got, whole float64, err error) {
	head, tail, _ := strings.Cut(c.metric, ".")
	if slices.Contains(timeMetrics, head) {
		q := c.quantiles(r, head)
		if q == nil {
			return 0, 0, errNotMeasured
		}
		list := []*float64{q.P50, q.P90, q.P95, q.P99, q.P999, q.Max}
		v := list[slices.Index(quantileNames, tail)]
		if v == nil {
			return 0, 0, errNotMeasured
		}
		return *v, 0, nil
	}
	if head == "server" {
		if r.Server == nil {
			return 0, 0, errors.New("the server's processes were not found")
		}
		if tail == "bytes_per_connection" && r.Server.BytesPerConnection == 0 {
			return 0, 0, errNotMeasured
		}
		return map[string]float64{
			"cpu_seconds": r.Server.CPUSeconds, "rss_bytes": float64(r.Server.RSSBytes),
			"bytes_per_connection": r.Server.BytesPerConnection,
		}[tail], 0, nil
	}
	got, whole = c.number(r, head, tail)
	return got, whole, nil
}

func (c Check) quantiles(r *Report, head string) *Quantiles {
	switch head {
	case "connect":
		return &r.ConnectSeconds
	case "rtt":
		return &r.RTTSeconds
	case "uncorrected_rtt":
		return r.SentRTTSeconds
	case "late":
		return r.LateSeconds
	}
	if r.Users == nil {
		return nil
	}
	return &r.Users.SessionSeconds
}

func (c Check) number(r *Report, head, tail string) (got, whole float64) {
	var b Broadcast
	if r.Broadcast != nil {
		b = *r.Broadcast
	}
	var u Users
	if r.Users != nil {
		u = *r.Users
	}
	conns, m := &r.Connections, &r.Messages
	if head == "closed" && tail != "" {
		return float64(conns.Closed[tail]), float64(conns.Opened)
	}
	x := map[string][2]uint64{
		"opened": {conns.Opened}, "failed": {conns.Failed, conns.Opened + conns.Failed}, "peak": {uint64(conns.Peak)},
		"closed": {sum(conns.Closed), conns.Opened}, "errors": {sum(r.Errors)}, "sent": {m.Sent}, "received": {m.Received},
		"unanswered": {m.Unanswered, m.Sent}, "published": {b.Published}, "delivered": {b.Delivered},
		"missing": {b.Missing, b.Delivered + b.Missing}, "duplicates": {b.Duplicates},
		"users.failed": {u.Failed, u.Arrived}, "users.completed": {u.Completed}, "users.skipped": {u.Skipped},
	}[c.metric]
	switch c.metric {
	case "sent_per_second":
		return m.SentPerSecond, 0
	case "received_per_second":
		return m.ReceivedPerSecond, 0
	}
	return float64(x[0]), float64(x[1])
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

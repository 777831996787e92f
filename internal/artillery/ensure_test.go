package artillery

import (
	"slices"
	"testing"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// TestEnsure checks which conditions fail a run, and the wording of the failures.
func TestEnsure(t *testing.T) {
	ms := func(v float64) *float64 { v /= 1000; return &v }
	report := &loadtest.Report{
		Messages:       loadtest.Messages{Sent: 100, Received: 90, SentPerSecond: 12.5},
		RTTSeconds:     loadtest.Quantiles{P50: ms(5), P95: ms(50), P99: ms(120), Max: ms(300)},
		ConnectSeconds: loadtest.Quantiles{P95: ms(7)},
		Users:          &loadtest.Users{Arrived: 50, Completed: 48, Failed: 2},
	}
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"below", "ensure: { thresholds: [ { p99: 200 }, { rtt.p95: 51 }, { connect.p95: 8 } ] }", nil},
		{
			"above", "ensure: { thresholds: [ { p99: 100 }, { http.response_time.p95: 50 } ] }",
			[]string{"p99 < 100: p99 is 120", "http.response_time.p95 < 50: http.response_time.p95 is 50"},
		},
		{
			"in the plugin", "plugins: { ensure: { p95: 10, maxErrorRate: 1, max: 500 } }",
			[]string{"p95 < 10: p95 is 50", "maxErrorRate < 1: vusers.created is 50, vusers.completed is 48"},
		},
		{"error rate holds", "ensure: { maxErrorRate: 4 }", nil},
		{
			"a condition", "ensure: { conditions: [ { expression: vusers.failed == 0 and rtt.p99 < 200 } ] }",
			[]string{"vusers.failed == 0 and rtt.p99 < 200: vusers.failed is 2, rtt.p99 is 120"},
		},
		{"or, not, brackets", "ensure: { conditions: [ { expression: not (vusers.failed > 1 or 2 * 3 == 7) or 1 + 2 ^ 2 == 5 } ] }", nil},
		{
			"not measured", "ensure: { thresholds: [ { vusers.session_length.p95: 1 } ] }",
			[]string{"vusers.session_length.p95 < 1: vusers.session_length.p95: not measured"},
		},
		{"not strict", "ensure: { conditions: [ { expression: vusers.failed == 0, strict: false } ] }", nil},
		{"numbers alone", "ensure: { conditions: [ { expression: 1 - 1 } ] }", []string{"1 - 1"}},
		{"from the environment", "ensure: { thresholds: [ { p99: '{{ $env.ARTILLERY_TEST_P99 }}' } ] }", []string{"p99 < 7: p99 is 120"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ARTILLERY_TEST_P99", "7")
			p := planOf(t, "s.yml", "config: { target: ws://localhost, "+tt.config+" }\nscenarios: [ { engine: ws, flow: [] } ]")
			var got []string
			if p.Judge != nil {
				got = p.Judge(report)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestExpressions checks the values of expressions, and that malformed ones are refused.
func TestExpressions(t *testing.T) {
	m := map[string]float64{"a": 2, "b.c": 3}
	known := func(string) error { return nil }
	for _, tt := range []struct {
		expr string
		want float64
		err  string
	}{
		{"1 + 2 * 3", 7, ""},
		{"(1 + 2) * 3", 9, ""},
		{"10 - 2 - 3", 5, ""},
		{"-a + 5 % 3", 0, ""},
		{"a < b.c and b.c >= 3 and a != b.c", 1, ""},
		{"not a == 2", 0, ""},
		{"a > 1 or none > 1", 1, ""},
		{"a > 5 and none > 1", 0, ""},
		{"none", 0, "none: not measured"},
		{"", 0, "the expression ends too early"},
		{"1 +", 0, "the expression ends too early"},
		{"(1", 0, "want a closing parenthesis"},
		{"1 2", 0, `unexpected "2"`},
		{"1.2.3", 0, `"1.2.3" is not a number`},
		{"* 1", 0, `unexpected "*"`},
	} {
		e, err := parseExpr(tt.expr, known)
		var got float64
		if err == nil {
			got, err = e.eval(m)
		}
		if text := errorText(err); got != tt.want || text != tt.err {
			t.Errorf("%q: got %v and %q, want %v and %q", tt.expr, got, text, tt.want, tt.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package loadtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTextReport checks that the text names the settings and results.
func TestTextReport(t *testing.T) {
	var b bytes.Buffer
	r := sampleReport()
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"1,000 opened", "3 failed", "(1006: 2, 4001: 1)", "3  ECONNREFUSED", "no process listens there", "p99.9", "12.3ms",
		"corrected for coordinated omission", "FAILED  too slow", "2.0 KiB per connection",
	} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q is missing in\n%s", part, b.String())
		}
	}
}

// TestMemoryThatDidNotGrow checks that no figure is shown where none was measured.
func TestMemoryThatDidNotGrow(t *testing.T) {
	var text, page bytes.Buffer
	r := sampleReport()
	r.Server.BytesPerConnection = 0
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bytes.Buffer{&text, &page} {
		if strings.Contains(b.String(), "per connection") {
			t.Errorf("a figure per connection in\n%s", b)
		}
	}
}

// TestHTMLReport checks that the page has no external resources and that text is escaped.
func TestHTMLReport(t *testing.T) {
	var b bytes.Buffer
	r := sampleReport()
	r.Errors["<script>alert(1)</script>"] = 1
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, part := range []string{
		"<svg", "</html>", "too slow", "&lt;script&gt;", "4001", "2026-01-02 03:04:05 UTC", "v1.2.3",
		"linux/amd64, 2 cores", "1003",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("%q is missing", part)
		}
	}
	for _, part := range []string{"http:", "https:", "<script", "NaN", "Inf", "src="} {
		if strings.Contains(page, part) {
			t.Errorf("%q is in it", part)
		}
	}
}

func sampleReport() *Report {
	v := 0.0123
	q := Quantiles{P50: &v, P90: &v, P95: &v, P99: &v, P999: &v, Max: &v}
	h := newTimes()
	record(h, 12_300_000)
	record(h, 40_000)
	return &Report{
		Target: "ws://127.0.0.1:1/", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "v1.2.3",
		Machine: "linux/amd64, 2 cores", Parameters: map[string]string{"connections": "1003"}, Mode: ModeEcho, Seconds: 12, Corrected: true,
		Connections:    Connections{Wanted: 1003, Opened: 1000, Failed: 3, Peak: 1000, Closed: map[string]uint64{"1006": 2, "4001": 1}},
		Messages:       Messages{Sent: 100, Received: 98, Unanswered: 2, SentPerSecond: 10, ReceivedPerSecond: 9.8},
		ConnectSeconds: q, RTTSeconds: q, SentRTTSeconds: &q, LateSeconds: &q,
		Errors: map[string]uint64{"ECONNREFUSED": 3},
		Server: &Server{PIDs: []int{1}, CPUSeconds: 2, RSSBytes: 1 << 20, BytesPerConnection: 2048},
		Storms: []Storm{{T: 1, Seconds: 0.2, Open: 1000}}, Failures: []string{"too slow"},
		Broadcast: &Broadcast{Published: 1, Delivered: 2},
		Users:     &Users{Arrived: 5, Completed: 4, Failed: 1, SessionSeconds: q},
		Timeline:  []Point{{}, {T: 1, Open: 5}, {T: 2, Open: 1000, Sent: 50, RTT50: &v, RTT99: &v}, {T: 3}}, histogram: h,
	}
}

// TestJSON checks the names in the report, which other programs depend on.
func TestJSON(t *testing.T) {
	r := sampleReport()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	keys := func(path ...string) string {
		at := tree
		for _, p := range path {
			next, ok := at[p].(map[string]any)
			if list, isList := at[p].([]any); isList {
				next, ok = list[0].(map[string]any)
			}
			if !ok {
				t.Fatalf("%v is no object: %v", path, at[p])
			}
			at = next
		}
		var list []string
		for k := range at {
			list = append(list, k)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	const times = "max p50 p90 p95 p99 p999"
	for _, tt := range []struct {
		path []string
		want string
	}{
		{nil, "broadcast client connect_seconds connections corrected errors failures interrupted late_seconds machine messages mode parameters rtt_seconds seconds server started storms target timeline uncorrected_rtt_seconds users version"},
		{[]string{"connections"}, "closed failed opened peak wanted"},
		{[]string{"messages"}, "bytes_received bytes_sent received received_per_second sent sent_per_second unanswered"},
		{[]string{"connect_seconds"}, times},
		{[]string{"rtt_seconds"}, times},
		{[]string{"server"}, "bytes_per_connection cpu_seconds pids rss_bytes"},
		{[]string{"client"}, "cpu_seconds processes rss_bytes"},
		{[]string{"broadcast"}, "delivered duplicates missing published"},
		{[]string{"storms"}, "failed open seconds t"},
		{[]string{"users"}, "arrived completed failed session_seconds skipped"},
		{[]string{"timeline"}, "closed failed open opened received rtt_p50 rtt_p99 sent t"},
	} {
		want(t, strings.Join(tt.path, "."), keys(tt.path...), tt.want)
	}
	b, err = json.Marshal(&Report{Connections: Connections{Closed: orEmpty(nil)}, Errors: orEmpty(nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"server":null`, `"closed":{}`, `"errors":{}`, `"rtt_seconds":{"p50":null`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s is missing in %s", part, b)
		}
	}
}

// TestCheck checks when a condition fails a run.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string // prefix of the reason; empty means that the run has not failed
	}{
		{"rtt.p99>50ms", ""},
		{"rtt.p99 > 12ms", "rtt.p99 > 12ms: it is 12.3ms"},
		{"rtt.max>=12.3ms", "rtt.max>=12.3ms: it is 12.3ms"},
		{"connect.p50<1s", "connect.p50<1s: it is 12.3ms"},
		{"late.p999>1s", ""},
		{"session.p90>1ms", "session.p90>1ms: it is"},
		{"failed>0", "failed>0: it is 3"},
		{"failed>1%", ""},
		{"failed>0.1%", "failed>0.1%: it is 0.299%"},
		{"closed>=3", "closed>=3: it is 3"},
		{"closed.1006>1", "closed.1006>1: it is 2"},
		{"closed.1001>0", ""},
		{"opened<1000", ""},
		{"opened!=1000", ""},
		{"peak==1000", "peak==1000: it is 1000"},
		{"messages.sent<=100", "messages.sent<=100: it is 100"},
		{"received_per_second<10", "received_per_second<10: it is 9.8"},
		{"unanswered>1%", "unanswered>1%: it is 2%"},
		{"missing>0", ""},
		{"errors>2", "errors>2: it is 3"},
		{"users.failed>10%", "users.failed>10%: it is 20%"},
		{"server.bytes_per_connection>1024", "server.bytes_per_connection>1024: it is 2048"},
	} {
		c, err := ParseCheck(tt.in)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := c.Failed(sampleReport()); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, s := range []string{"rtt.p99>1s", "session.p50>1s", "late.p99>1s", "server.rss_bytes>1"} {
		c, err := ParseCheck(s)
		if err != nil {
			t.Error(err)
		} else if c.Failed(&Report{}) == "" {
			t.Errorf("%s: what was not measured has not failed", s)
		}
	}
	for _, s := range []string{
		"", "rtt", "rtt>5ms", "rtt.p98>5ms", "rtt.p99>5", "rtt.p99>-5ms", "rtt.p99=5ms", "rtt.p99>5ms extra", "faled>0", "failed>x",
		"failed>NaN", "failed>-1", "closed.5>0", "closed.x>0", "opened>5%", "p99>5ms", ">5",
	} {
		if c, err := ParseCheck(s); err == nil {
			t.Errorf("%q: got %+v", s, c)
		} else if !strings.Contains(err.Error(), "rtt.p99>50ms") {
			t.Errorf("%q: got %v, want an example in it", s, err)
		}
	}
}

package telemetry

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// scrape requests the metrics as Prometheus does, and returns the lines with the prefix.
func scrape(t *testing.T, m *Metrics, prefix string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func wantLines(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	for _, want := range lines {
		name, _, _ := strings.Cut(want, "{")
		if got := scrape(t, m, name); !strings.Contains("\n"+strings.Join(got, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("got\n  %s\nwant among it\n  %s", strings.Join(got, "\n  "), want)
		}
	}
}

// TestMetricsGolden checks names and labels, which are a contract with users' dashboards.
func TestMetricsGolden(t *testing.T) {
	w := full(t)
	m := NewMetrics(new(Totals),
		func() []SlotReport { return []SlotReport{{Slot: 1, Generation: 2, PID: 77, State: "ready", Report: w}} },
		func() PrimaryReport {
			return PrimaryReport{
				Version: "v1", Restarts: map[int]uint64{1: 4}, HandoffMoved: 5, HandoffFailed: 6, HandoffSeconds: 0.25,
				Sessions: 7, SessionsConnected: 3, StoreUp: true, HasStore: true, Revocations: 5, FeedUp: true,
				Certificates: &CertificatesReport{Issued: 2, Failed: 3, Failing: 1, Next: 1.7e9},
			}
		},
	)
	got := strings.Join(scrape(t, m, "expedite_"), "\n")
	got = replaceGoVersion(got) + "\n"
	golden := filepath.Join("testdata", "metrics.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (UPDATE_GOLDEN=1 writes it)\n%s", got, want)
	}
	for _, prefix := range []string{"go_goroutines ", "process_"} {
		if len(scrape(t, m, prefix)) == 0 {
			t.Errorf("nothing begins with %s", prefix)
		}
	}
}

func replaceGoVersion(s string) string {
	before, after, ok := strings.Cut(s, `goversion="`)
	if !ok {
		return s
	}
	_, after, _ = strings.Cut(after, `"`)
	return before + `goversion="GO"` + after
}

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	c := newCollector(
		func() []SlotReport { return []SlotReport{{Slot: 1, State: "ready", Report: full(t)}} },
		func() PrimaryReport { return PrimaryReport{Restarts: map[int]uint64{1: 1}} }, &Totals{},
	)
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsAreDescribed checks the metrics with a registry that refuses those that Describe does not name.
func TestMetricsAreDescribed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(newCollector(
		func() []SlotReport { return []SlotReport{{Slot: 1, State: "ready", Report: full(t)}} },
		func() PrimaryReport { return PrimaryReport{Restarts: map[int]uint64{1: 1}} }, &Totals{},
	))
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}

func TestCountersOutliveWorkers(t *testing.T) {
	samples := []SlotReport{{Slot: 1, Generation: 1, State: "ready", Report: Report{
		Connections: 3, TextIn: 10, Closed: map[string]uint64{"1001": 2},
	}}}
	m := NewMetrics(new(Totals), func() []SlotReport { return samples }, nil)
	in := func(n int) string {
		return fmt.Sprintf(`expedite_messages_total{dir="in",type="text",worker="1"} %d`, n)
	}
	closed := func(n int) string { return fmt.Sprintf(`expedite_disconnects_total{code="1001",worker="1"} %d`, n) }
	wantLines(t, m, in(10), closed(2), `expedite_connections{worker="1"} 3`)

	samples = nil // it died, and no other is there yet
	wantLines(t, m, in(10), closed(2), `expedite_connections{worker="1"} 0`)

	samples = []SlotReport{{Slot: 1, Generation: 2, State: "ready", Report: Report{Connections: 1, TextIn: 4}}}
	wantLines(t, m, in(14), closed(2), `expedite_connections{worker="1"} 1`)
}

func TestHandoffShowsBothProcessesAsOneWorker(t *testing.T) {
	m := NewMetrics(new(Totals), func() []SlotReport {
		return []SlotReport{
			{Slot: 1, Generation: 1, State: "moving", Report: Report{Connections: 3, LoopLagSeconds: 0.5}},
			{Slot: 1, Generation: 2, State: "ready", Report: Report{Connections: 4, LoopLagSeconds: 0.25}},
		}
	}, nil)
	wantLines(t, m, `expedite_connections{worker="1"} 7`, `expedite_loop_lag_seconds{worker="1"} 0.5`,
		`expedite_worker_state{state="moving",worker="1"} 1`, `expedite_worker_state{state="ready",worker="1"} 1`)
}

// TestStaleWorkersShow checks that a worker that does not answer is marked.
func TestStaleWorkersShow(t *testing.T) {
	m := NewMetrics(new(Totals), func() []SlotReport {
		return []SlotReport{{Slot: 1, State: "ready"}, {Slot: 2, State: "ready", Stale: true}}
	}, nil)
	wantLines(t, m, `expedite_worker_stale{worker="1"} 0`, `expedite_worker_stale{worker="2"} 1`)
}

// TestReportsBetweenScrapesCount checks that reports after the last scrape of a worker's life count.
func TestReportsBetweenScrapesCount(t *testing.T) {
	totals := new(Totals)
	m := NewMetrics(totals, nil, nil)
	totals.Add(SlotReport{Slot: 2, Generation: 1, Report: Report{BytesOut: 8}})
	totals.Add(SlotReport{Slot: 2, Generation: 2, Report: Report{BytesOut: 1}})
	wantLines(t, m, `expedite_bytes_total{dir="out",worker="2"} 9`)
}

// TestClientsCannotMakeMetricsWithoutEnd checks that close codes, which clients choose, make a bounded number of
// metrics.
func TestClientsCannotMakeMetricsWithoutEnd(t *testing.T) {
	first := map[string]uint64{"bad \xff": 1}
	for i := range maxLabels - 1 {
		first[fmt.Sprint(4000+i)] = 1
	}
	samples := []SlotReport{{Slot: 1, Generation: 1, Report: Report{Closed: first}}}
	m := NewMetrics(new(Totals), func() []SlotReport { return samples }, nil)
	if got := len(scrape(t, m, "expedite_disconnects_total")); got != maxLabels {
		t.Errorf("got %d labels, want %d", got, maxLabels)
	}
	samples = append(samples, SlotReport{Slot: 2, Generation: 1, Report: Report{
		Closed: map[string]uint64{"4000": 1, "3999": 2, "4999": 3},
	}})
	wantLines(t, m, `expedite_disconnects_total{code="4000",worker="2"} 1`,
		`expedite_disconnects_total{code="other",worker="2"} 5`)
	if got := len(scrape(t, m, "expedite_disconnects_total")); got != maxLabels+2 {
		t.Errorf("got %d series, want %d", got, maxLabels+2)
	}
}

// TestSessionMetrics checks that two of the names are metrics of their own, and that a store that is not configured is
// not down.
func TestSessionMetrics(t *testing.T) {
	var primary PrimaryReport
	m := NewMetrics(new(Totals), func() []SlotReport {
		return []SlotReport{{Slot: 1, Report: Report{
			Session: map[string]uint64{"deferred": 2, "refused": 3, "restored": 4}, LogsLeftOut: 5,
			Refused: map[string]uint64{"401": 6}, AuthRefused: map[string]uint64{"expired": 7},
		}}}
	}, func() PrimaryReport { return primary })
	wantLines(
		t, m, `expedite_session_deferred_total{worker="1"} 2`, `expedite_session_refused_total{worker="1"} 3`,
		`expedite_session_operations_total{result="restored",worker="1"} 4`, `expedite_log_lines_left_out_total{worker="1"} 5`,
		`expedite_handshake_failures_total{reason="401",worker="1"} 6`,
		`expedite_handshake_failures_total{reason="expired",worker="1"} 7`,
		`expedite_sessions{state="connected"} 0`,
	)
	if got := scrape(t, m, "expedite_session_operations_total"); len(got) != 1 {
		t.Errorf("operations: got %q, want one", got)
	}
	if got := scrape(t, m, "expedite_session_store_up"); len(got) != 0 {
		t.Errorf("without a store: got %q, want nothing", got)
	}
	primary = PrimaryReport{Sessions: 2, SessionsConnected: 3, HasStore: true} // counted at different moments
	wantLines(t, m, "expedite_session_store_up 0", `expedite_sessions{state="connected"} 3`, `expedite_sessions{state="disconnected"} 0`,
		"expedite_revocation_feed_up 0")
	primary = PrimaryReport{Sessions: -1, SessionsConnected: -1, HasStore: true}
	if got := scrape(t, m, "expedite_sessions"); len(got) != 0 {
		t.Errorf("a number that is not known: got %q, want nothing", got)
	}
}

func TestTwoMetricsInOneProcess(t *testing.T) {
	a := NewMetrics(new(Totals), func() []SlotReport { return []SlotReport{{Slot: 1, Report: Report{Connections: 1}}} }, nil)
	b := NewMetrics(new(Totals), func() []SlotReport { return []SlotReport{{Slot: 1, Report: Report{Connections: 2}}} }, nil)
	wantLines(t, a, `expedite_connections{worker="1"} 1`)
	wantLines(t, b, `expedite_connections{worker="1"} 2`)
}

// TestTLSMetrics: handshakes of TLS are counted by suite, and their durations are a histogram, also if another version
// of this program has other intervals.
func TestTLSMetrics(t *testing.T) {
	m := NewMetrics(new(Totals), func() []SlotReport {
		return []SlotReport{
			{Slot: 1, Generation: 1, PID: 7, Report: Report{
				TLSSuites: map[string]uint64{"TLS_AES_128_GCM_SHA256": 9},
				TLSTook:   map[string]uint64{"0.001": 2, "0.0025": 3, "10": 0, "+Inf": 4}, TLSMicroseconds: 2_500_000,
			}},
			{Slot: 2, Generation: 1, PID: 8, Report: Report{TLSTook: map[string]uint64{"new": 1, "1": 2}}},
			{Slot: 3, Generation: 1, PID: 9},
		}
	}, func() PrimaryReport { return PrimaryReport{} })
	wantLines(t, m,
		`expedite_tls_suites_total{suite="TLS_AES_128_GCM_SHA256",worker="1"} 9`,
		`expedite_tls_handshake_seconds_bucket{worker="1",le="0.001"} 2`,
		`expedite_tls_handshake_seconds_bucket{worker="1",le="0.0025"} 5`,
		`expedite_tls_handshake_seconds_bucket{worker="1",le="10"} 5`,
		`expedite_tls_handshake_seconds_bucket{worker="1",le="+Inf"} 9`,
		`expedite_tls_handshake_seconds_sum{worker="1"} 2.5`,
		`expedite_tls_handshake_seconds_count{worker="1"} 9`,
		`expedite_tls_handshake_seconds_bucket{worker="2",le="1"} 2`,
		`expedite_tls_handshake_seconds_count{worker="2"} 3`,
	)
	if got := scrape(t, m, `expedite_tls_handshake_seconds_count{worker="3"}`); got != nil {
		t.Errorf("without TLS: got %q", got)
	}
}

package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// PrimaryReport is what the primary itself has to tell. The zero value is that of a server that has just begun.
type PrimaryReport struct {
	Version        string            // of the program; empty: unknown
	Restarts       map[int]uint64    // by slot: processes that ended unasked
	HandoffMoved   uint64            // connections that moved to a new process
	HandoffFailed  uint64            // connections that could not
	HandoffSeconds float64           // how long the latest handoff took; 0: there was none
	Limits         map[string]uint64 // hits of its own limits, by the limit's name

	Sessions          int64 // that the primary holds; negative: not known
	SessionsConnected int64 // those of them with a connection; negative: not known
	Revocations       int64 // that are in force
	StoreUp           bool  // the store outside does what sessions need
	FeedUp            bool  // revocations are shared with other machines
	HasStore          bool  // there is a store outside
}

// Metrics shows all workers at once, in the text format of Prometheus. Make one with [NewMetrics].
type Metrics struct {
	registry *prometheus.Registry
	totals   Totals
}

// NewMetrics makes the metrics of a server. At each scrape, source lists the workers that there are, one sample for
// each process, and primary tells of the primary; both may be nil. Several Metrics can live in one process.
func NewMetrics(source func() []SlotReport, primary func() PrimaryReport) *Metrics {
	if source == nil {
		source = func() []SlotReport { return nil }
	}
	if primary == nil {
		primary = func() PrimaryReport { return PrimaryReport{} }
	}
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister( // of our own names in an empty registry: it cannot fail
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(source, primary, &m.totals),
	)
	return m
}

// Totals is the account behind the counters. Report to it each report of a worker as it comes; a scrape does so for
// what the source lists, which alone would lose what a process did after the last scrape of its life.
func (m *Metrics) Totals() *Totals { return &m.totals }

// ServeHTTP answers a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

var _ http.Handler = (*Metrics)(nil)

package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// PrimaryReport is what the primary reports about itself. The zero value is the report of a server that has just
// started.
type PrimaryReport struct {
	Version        string            // of the program; empty: unknown
	Draining       bool              // not ready, and closing its connections, because of the command drain
	Restarts       map[int]uint64    // by slot: processes that ended unexpectedly
	HandoffMoved   uint64            // connections that moved to a new process
	HandoffFailed  uint64            // connections that could not move
	HandoffSeconds float64           // duration of the latest handoff; 0: there was none
	Limits         map[string]uint64 // hits of the primary's own limits, by name

	Sessions          int64 // in the primary; negative: unknown
	SessionsConnected int64 // those with a connection; negative: unknown
	Revocations       int64 // in force
	StoreUp           bool  // the external store is available
	FeedUp            bool  // revocations are shared with other machines
	HasStore          bool  // there is an external store

	Backplane *BackplaneReport // nil: this machine is alone
	History   *HistoryReport   // nil: no topic keeps messages here
	Presence  *PresenceReport  // nil: no topic has presence

	Certificates *CertificatesReport // nil: no certificate is obtained
}

// CertificatesReport is what has come of obtaining certificates.
type CertificatesReport struct {
	Issued, Failed uint64  // attempts, since this program runs
	Failing        int     // domains whose last attempt has failed
	Next           float64 // the Unix time of the next attempt of all domains; 0: another server obtains them
}

// BackplaneReport is the state of what connects this machine with others.
type BackplaneReport struct {
	Up          bool // messages pass
	Topics      int  // that this machine subscribes to
	QueuedBytes int64
	LagSeconds  float64           // how long the oldest message has waited
	Machines    int               // that are known, this one included; 0: unknown
	Events      map[string]uint64 // counters, by name
}

// PresenceReport is who is in topics on this machine.
type PresenceReport struct {
	Topics, Members int
	Up              bool              // other machines are told
	Events          map[string]uint64 // counters, by name
}

// HistoryReport is what topics keep in the primary.
type HistoryReport struct {
	Topics, Messages  int
	Bytes, LimitBytes int64
	Events            map[string]uint64 // counters, by name
}

// Metrics serves the metrics of all workers in the text format of Prometheus. Create one with [NewMetrics].
type Metrics struct{ registry *prometheus.Registry }

// NewMetrics returns the metrics of a server. Its counters are those of totals: the caller adds each report of a worker
// to them as it arrives. At each scrape, it calls source, which returns one report for each process of a worker, and
// primary. Both may be nil. A scrape adds the reports of source to totals, too, but these alone would miss what a
// process did after the last scrape of its life. Several Metrics can exist in one process.
func NewMetrics(totals *Totals, source func() []SlotReport, primary func() PrimaryReport) *Metrics {
	if source == nil {
		source = func() []SlotReport { return nil }
	}
	if primary == nil {
		primary = func() PrimaryReport { return PrimaryReport{} }
	}
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister( // cannot fail: the registry is empty and the names are ours
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(source, primary, totals),
	)
	return m
}

// ServeHTTP answers a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

var _ http.Handler = (*Metrics)(nil)

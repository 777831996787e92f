package telemetry

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxLabels  = 64      // values of one label: clients choose close codes
	otherLabel = "other" // where the rest is counted

	// Names of Worker.Session that are metrics of their own.
	sessionDeferred = "deferred"
	sessionRefused  = "refused"
)

// collector makes metrics of samples when it is asked. It holds no numbers but the totals.
type collector struct {
	source  func() []SlotReport
	primary func() PrimaryReport
	totals  *Totals
	// gauges and counters have one value per worker.
	gauges   []family
	counters []family
	// families are counters with one more label, of values that are found at run time.
	families                                               []labeled
	restarts, handoff, handoffSeconds, state, stale, build *prometheus.Desc
	sessions, storeUp, revocations, feedUp, limits         *prometheus.Desc
}

// family is a metric with values from a report.
type family struct {
	desc   *prometheus.Desc
	labels []string // after the worker's
	value  func(*Report) float64
}

// labeled is a counter per worker and key of a map.
type labeled struct {
	desc   *prometheus.Desc
	values func(*Report) map[string]uint64
	known  *labelSet
}

func newCollector(source func() []SlotReport, primary func() PrimaryReport, totals *Totals) *collector {
	desc := describe
	return &collector{
		source: source, primary: primary, totals: totals,
		gauges: gauges(), counters: counters(),
		families:       families(),
		restarts:       desc("worker_restarts_total", "Workers that ended unasked.", "worker"),
		handoff:        desc("handoff_connections_total", "Connections that a handoff moved or failed to.", "result"),
		handoffSeconds: desc("handoff_seconds", "How long the latest handoff took."),
		limits:         desc("primary_limit_hits_total", "How often a limit of the primary was hit.", "limit"),
		state:          desc("worker_state", "Processes of a slot that are in this state.", "worker", "state"),
		stale: desc("worker_stale",
			"Whether a worker does not answer, and its values are those of its last answer: 1 or 0.", "worker"),
		build:       desc("build_info", "Always 1; the labels tell.", "version", "goversion"),
		sessions:    desc("sessions", "Sessions that the primary holds.", "state"),
		storeUp:     desc("session_store_up", "Whether the session store outside does what sessions need: 1 or 0."),
		revocations: desc("revocations", "Revocations that are in force."),
		feedUp: desc("revocation_feed_up",
			"Whether revocations are shared with other machines as they should be: 1 or 0."),
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("expedite_"+name, help, labels, nil)
}

// gauges lists what is taken from the processes that live.
func gauges() []family {
	one := func(name, help string, value func(*Report) float64) family {
		return family{desc: describe(name, help, "worker"), value: value}
	}
	return []family{
		one("connections", "Open WebSocket connections.", func(w *Report) float64 { return float64(w.Connections) }),
		one("handshaking", "Accepted sockets that are no WebSocket yet.",
			func(w *Report) float64 { return float64(w.Handshaking) }),
		one("http_connections", "Open HTTP connections.", func(w *Report) float64 { return float64(w.HTTPConnections) }),
		one("subscriptions", "Subscriptions of connections to topics.",
			func(w *Report) float64 { return float64(w.Subscriptions) }),
		one("send_queue_bytes", "Bytes that wait to be sent.", func(w *Report) float64 { return float64(w.QueueBytes) }),
		one("partial_bytes", "Bytes of messages that are not complete.",
			func(w *Report) float64 { return float64(w.PartialBytes) }),
		one("loop_lag_seconds", "Worst delay of an event loop in the last second.",
			func(w *Report) float64 { return w.LoopLagSeconds }),
		one("worker_heap_bytes", "Objects on the worker's heap.", func(w *Report) float64 { return float64(w.HeapBytes) }),
		one("worker_resident_memory_bytes", "Resident memory of the worker.",
			func(w *Report) float64 { return float64(w.RSSBytes) }),
		one("worker_goroutines", "Goroutines of the worker.", func(w *Report) float64 { return float64(w.Goroutines) }),
	}
}

// counters lists what is taken from the totals.
func counters() []family {
	one := func(name, help string, value func(*Report) uint64) family {
		return family{desc: describe(name, help, "worker"), value: func(w *Report) float64 { return float64(value(w)) }}
	}
	messages := describe("messages_total", "Messages.", "worker", "dir", "type")
	message := func(dir, typ string, value func(*Report) uint64) family {
		return family{messages, []string{dir, typ}, func(w *Report) float64 { return float64(value(w)) }}
	}
	bytes := describe("bytes_total", "Bytes on the wire.", "worker", "dir")
	return []family{
		one("accepted_total", "Sockets that were accepted.", func(w *Report) uint64 { return w.Accepted }),
		one("connections_total", "WebSocket connections that were opened.", func(w *Report) uint64 { return w.Opened }),
		one("http_requests_total", "Requests that were no handshakes.", func(w *Report) uint64 { return w.HTTP }),
		one("resets_total", "Connections that ended without a close frame.", func(w *Report) uint64 { return w.Resets }),
		one("handler_panics_total", "Panics of handlers.", func(w *Report) uint64 { return w.Panics }),
		one("loop_stalls_total", "Callbacks that held an event loop too long.",
			func(w *Report) uint64 { return w.Stalls }),
		message("in", "text", func(w *Report) uint64 { return w.TextIn }),
		message("in", "binary", func(w *Report) uint64 { return w.BinaryIn }),
		message("out", "text", func(w *Report) uint64 { return w.TextOut }),
		message("out", "binary", func(w *Report) uint64 { return w.BinaryOut }),
		one("session_deferred_total", "Writes of sessions that wait until the store is back.",
			func(w *Report) uint64 { return w.Session[sessionDeferred] }),
		one("session_refused_total", "Writes of sessions that were given up.",
			func(w *Report) uint64 { return w.Session[sessionRefused] }),
		one("log_lines_left_out_total", "Log lines about clients that come and go that were too many.",
			func(w *Report) uint64 { return w.LogsLeftOut }),
		{bytes, []string{"in"}, func(w *Report) float64 { return float64(w.BytesIn) }},
		{bytes, []string{"out"}, func(w *Report) float64 { return float64(w.BytesOut) }},
	}
}

// families lists the counters of which each key of a map is one.
func families() []labeled {
	of := func(name, help, label string, values func(*Report) map[string]uint64) labeled {
		return labeled{describe(name, help, "worker", label), values, &labelSet{}}
	}
	return []labeled{
		of("disconnects_total", "Connections that ended, by close code.", "code",
			func(w *Report) map[string]uint64 { return w.Closed }),
		of("handshake_failures_total", "Handshakes that were refused, by HTTP status, and once more by reason if it is one "+
			"of identity.", "reason", func(w *Report) map[string]uint64 { return mergeMaps(w.Refused, w.AuthRefused, added) }),
		of("limit_hits_total", "How often a limit was hit.", "limit",
			func(w *Report) map[string]uint64 { return w.Limits }),
		of("handoff_stays_total", "Connections that were to move and cannot, by reason.", "reason",
			func(w *Report) map[string]uint64 { return w.Stays }),
		of("session_operations_total", "What was done with sessions, by result.", "result",
			func(w *Report) map[string]uint64 {
				others := maps.Clone(w.Session)
				delete(others, sessionDeferred)
				delete(others, sessionRefused)
				return others
			}),
	}
}

// Describe names all metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range slices.Concat(c.gauges, c.counters) {
		ch <- f.desc
	}
	for _, f := range c.families {
		ch <- f.desc
	}
	for _, d := range []*prometheus.Desc{
		c.restarts, c.handoff, c.handoffSeconds, c.state, c.build, c.sessions, c.storeUp, c.revocations, c.feedUp,
		c.limits, c.stale,
	} {
		ch <- d
	}
}

// Collect makes the metrics of this moment.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	live := make(map[int]Report) // by slot
	states, stale := make(map[[2]string]int), make(map[int]bool)
	for _, s := range c.source() {
		c.totals.Add(s)
		live[s.Slot] = live[s.Slot].plus(s.Report)
		stale[s.Slot] = stale[s.Slot] || s.Stale
		states[[2]string{strconv.Itoa(s.Slot), valid(s.State)}]++
	}
	for _, n := range c.totals.Slots() {
		slot := strconv.Itoa(n)
		now, all := live[n], c.totals.Slot(n)
		for _, f := range c.gauges {
			send(ch, f.desc, prometheus.GaugeValue, f.value(&now), slot)
		}
		for _, f := range c.counters {
			send(ch, f.desc, prometheus.CounterValue, f.value(&all), append([]string{slot}, f.labels...)...)
		}
		for _, f := range c.families {
			counts := f.known.fold(f.values(&all))
			for label, count := range counts {
				send(ch, f.desc, prometheus.CounterValue, float64(count), slot, label)
			}
		}
	}
	for key, n := range states {
		send(ch, c.state, prometheus.GaugeValue, float64(n), key[0], key[1])
	}
	for slot, is := range stale {
		send(ch, c.stale, prometheus.GaugeValue, flag(is), strconv.Itoa(slot))
	}
	c.collectPrimary(ch)
}

func (c *collector) collectPrimary(ch chan<- prometheus.Metric) {
	p := c.primary()
	for slot, n := range p.Restarts {
		send(ch, c.restarts, prometheus.CounterValue, float64(n), strconv.Itoa(slot))
	}
	send(ch, c.handoff, prometheus.CounterValue, float64(p.HandoffMoved), "moved")
	send(ch, c.handoff, prometheus.CounterValue, float64(p.HandoffFailed), "failed")
	send(ch, c.handoffSeconds, prometheus.GaugeValue, p.HandoffSeconds)
	for limit, n := range p.Limits {
		send(ch, c.limits, prometheus.CounterValue, float64(n), limit)
	}
	if p.Sessions >= 0 && p.SessionsConnected >= 0 {
		send(ch, c.sessions, prometheus.GaugeValue, float64(p.SessionsConnected), "connected")
		send(ch, c.sessions, prometheus.GaugeValue, float64(max(p.Sessions-p.SessionsConnected, 0)), "disconnected")
	}
	send(ch, c.revocations, prometheus.GaugeValue, float64(p.Revocations))
	if p.HasStore {
		send(ch, c.storeUp, prometheus.GaugeValue, flag(p.StoreUp))
		send(ch, c.feedUp, prometheus.GaugeValue, flag(p.FeedUp))
	}
	send(ch, c.build, prometheus.GaugeValue, 1, valid(p.Version), runtime.Version())
}

// flag is a bool as a metric.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var _ prometheus.Collector = (*collector)(nil)

// send gives one value away; an error in it, which would be ours, shows in the scrape.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

// valid is s as a label's value, which must be UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "�") }

// labelSet remembers the first values of a label, so that what clients choose cannot make metrics without end. Who is
// not in it is counted as other, for ever: a count that changed its label would fall.
type labelSet struct {
	mu    sync.Mutex
	known map[string]bool
}

// fold adds up, in a map of its own, the counts of labels that are beyond the limit.
func (l *labelSet) fold(counts map[string]uint64) map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[string]bool)
	}
	folded := make(map[string]uint64, len(counts))
	for _, label := range slices.Sorted(maps.Keys(counts)) {
		n := counts[label]
		label = valid(label)
		if !l.known[label] {
			if len(l.known) >= maxLabels {
				label = otherLabel
			} else {
				l.known[label] = true
			}
		}
		folded[label] += n
	}
	return folded
}

package telemetry

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxLabels  = 64      // values of one label, because clients choose close codes
	otherLabel = "other" // counts further values

	// Names in Report.Session that are metrics of their own.
	sessionDeferred = "deferred"
	sessionRefused  = "refused"
)

// collector computes metrics when they are scraped. The only numbers that it stores are the totals.
type collector struct {
	source  func() []SlotReport
	primary func() PrimaryReport
	totals  *Totals
	// gauges and counters have one value per worker.
	gauges   []family
	counters []family
	// families are counters with one more label, whose values are found at run time.
	families                                               []labeled
	restarts, handoff, handoffSeconds, state, stale, build *prometheus.Desc
	draining, tlsSeconds                                   *prometheus.Desc
	sessions, storeUp, revocations, feedUp, limits         *prometheus.Desc
	planeUp, planeTopics, planeQueue, planeEvents          *prometheus.Desc
	planeLag, machines                                     *prometheus.Desc

	historyTopics, historyMessages, historyBytes, historyEvents *prometheus.Desc
	presenceUp, presenceTopics, presenceMembers, presenceEvents *prometheus.Desc

	autoOrders, autoFailing, autoNext *prometheus.Desc
}

// family is a metric with values from a report.
type family struct {
	desc   *prometheus.Desc
	labels []string // after the label of the worker
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
		families: families(),
		restarts: desc("worker_restarts_total", "Processes of workers that ended unexpectedly.", "worker"),
		handoff: desc("handoff_connections_total", "Connections that a handoff moved, or failed to move.",
			"result"),
		handoffSeconds: desc("handoff_seconds", "Duration of the latest handoff."),
		limits:         desc("primary_limit_hits_total", "Hits of a limit of the primary.", "limit"),
		state:          desc("worker_state", "Processes of a slot in this state.", "worker", "state"),
		stale: desc("worker_stale",
			"1 if a worker does not answer, and its values are those of its last answer.", "worker"),
		build:    desc("build_info", "Always 1. The labels are the values.", "version", "goversion"),
		sessions: desc("sessions", "Sessions in the primary.", "state"),
		draining: desc("draining", "1 during a drain that was begun with the command, until it is undone."),
		tlsSeconds: desc("tls_handshake_seconds",
			"How long handshakes of TLS took that were completed, the waits for the client and a processor included.", "worker"),
		storeUp:     desc("session_store_up", "1 if the external session store is available."),
		revocations: desc("revocations", "Revocations in force."),
		feedUp: desc("revocation_feed_up",
			"1 if revocations are shared with other machines."),
		planeUp:     desc("backplane_up", "1 if messages pass between machines."),
		planeTopics: desc("backplane_topics", "Topics that this machine subscribes to."),
		planeQueue:  desc("backplane_queue_bytes", "Bytes waiting to be sent to other machines."),
		planeLag:    desc("backplane_lag_seconds", "How long the oldest message to other machines has waited."),
		machines:    desc("machines", "Machines of the service that are known, this one included."),
		planeEvents: desc("backplane_events_total", "What happened to messages between machines.", "event"),

		presenceUp:      desc("presence_up", "Whether other machines are told who is in topics (1) or not (0)."),
		presenceTopics:  desc("presence_topics", "Topics with members on this machine."),
		presenceMembers: desc("presence_members", "Members of topics on this machine."),
		presenceEvents:  desc("presence_events_total", "What happened to the members of topics.", "event"),
		historyTopics:   desc("history_topics", "Topics whose history the primary knows."),
		historyMessages: desc("history_messages", "Messages that topics keep."),
		historyBytes:    desc("history_bytes", "Bytes of the messages that topics keep, with what they need in memory."),
		historyEvents:   desc("history_events_total", "What happened to the histories of topics.", "event"),

		autoOrders: desc("tls_auto_attempts_total", "Attempts to obtain a certificate.", "result"),
		autoFailing: desc("tls_auto_failing",
			"Domains of --tls-auto whose last attempt has failed; the certificate before it stays in use."),
		autoNext: desc("tls_auto_next_attempt_timestamp_seconds",
			"When the next certificate is obtained or renewed; 0 if another server does that."),
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("expedite_"+name, help, labels, nil)
}

// gauges returns the metrics that are taken from the running processes.
func gauges() []family {
	one := func(name, help string, value func(*Report) float64) family {
		return family{desc: describe(name, help, "worker"), value: value}
	}
	return []family{
		one("connections", "Open WebSocket connections.", func(w *Report) float64 { return float64(w.Connections) }),
		one("handshaking", "Accepted sockets that are not WebSockets yet.",
			func(w *Report) float64 { return float64(w.Handshaking) }),
		one("http_connections", "Open HTTP connections.",
			func(w *Report) float64 { return float64(w.HTTPConnections) }),
		one("subscriptions", "Subscriptions of connections to topics.",
			func(w *Report) float64 { return float64(w.Subscriptions) }),
		one("send_queue_bytes", "Bytes waiting to be sent.", func(w *Report) float64 { return float64(w.QueueBytes) }),
		one("partial_bytes", "Bytes of incomplete messages.",
			func(w *Report) float64 { return float64(w.PartialBytes) }),
		one("loop_lag_seconds", "Longest delay of an event loop in the last second.",
			func(w *Report) float64 { return w.LoopLagSeconds }),
		one("worker_heap_bytes", "Bytes of objects on the worker's heap.",
			func(w *Report) float64 { return float64(w.HeapBytes) }),
		one("worker_resident_memory_bytes", "Resident memory of the worker in bytes.",
			func(w *Report) float64 { return float64(w.RSSBytes) }),
		one("tls_certificate_expiry_timestamp_seconds", "When the first certificate expires; 0 without TLS.",
			func(w *Report) float64 { return w.CertificateExpires }),
		one("tls_reread_failing", "1 if the files of certificates cannot be used: the earlier ones stay in use.",
			func(w *Report) float64 { return flag(w.RereadFailing) }),
		one("worker_goroutines", "Goroutines of the worker.", func(w *Report) float64 { return float64(w.Goroutines) }),
	}
}

// counters returns the metrics that are taken from the totals.
func counters() []family {
	one := func(name, help string, value func(*Report) uint64) family {
		return family{desc: describe(name, help, "worker"), value: func(w *Report) float64 { return float64(value(w)) }}
	}
	messages := describe("messages_total", "Messages.", "worker", "dir", "type")
	message := func(dir, typ string, value func(*Report) uint64) family {
		return family{messages, []string{dir, typ}, func(w *Report) float64 { return float64(value(w)) }}
	}
	bytes := describe("bytes_total", "Bytes on the wire.", "worker", "dir")
	return append(compressionCounters(one), []family{
		one("accepted_total", "Sockets accepted.", func(w *Report) uint64 { return w.Accepted }),
		one("connections_total", "WebSocket connections opened.", func(w *Report) uint64 { return w.Opened }),
		one("http_requests_total", "Requests that were not WebSocket handshakes.",
			func(w *Report) uint64 { return w.HTTP }),
		one("resets_total", "Connections that ended without a close frame.",
			func(w *Report) uint64 { return w.Resets }),
		one("handler_panics_total", "Panics in handlers.", func(w *Report) uint64 { return w.Panics }),
		one("loop_stalls_total", "Callbacks that blocked an event loop for too long.",
			func(w *Report) uint64 { return w.Stalls }),
		message("in", "text", func(w *Report) uint64 { return w.TextIn }),
		message("in", "binary", func(w *Report) uint64 { return w.BinaryIn }),
		message("out", "text", func(w *Report) uint64 { return w.TextOut }),
		message("out", "binary", func(w *Report) uint64 { return w.BinaryOut }),
		one("session_deferred_total", "Writes of sessions deferred until the store is available.",
			func(w *Report) uint64 { return w.Session[sessionDeferred] }),
		one("session_refused_total", "Writes of sessions given up.",
			func(w *Report) uint64 { return w.Session[sessionRefused] }),
		one("log_lines_left_out_total", "Log lines about connecting and disconnecting clients that were suppressed.",
			func(w *Report) uint64 { return w.LogsLeftOut }),
		{bytes, []string{"in"}, func(w *Report) float64 { return float64(w.BytesIn) }},
		{bytes, []string{"out"}, func(w *Report) float64 { return float64(w.BytesOut) }},
	}...)
}

// compressionCounters returns the metrics of compressed messages.
func compressionCounters(one func(name, help string, value func(*Report) uint64) family) []family {
	messages := describe("compressed_messages_total", "Compressed messages.", "worker", "dir")
	bytes := describe("compressed_bytes_total", "Bytes of compressed messages, without and with compression.", "worker",
		"dir", "form")
	return []family{
		one("compressions_total", "Messages compressed, a publication once for many receivers.",
			func(w *Report) uint64 { return w.Compressions }),
		{messages, []string{"in"}, func(w *Report) float64 { return float64(w.InflatedMessages) }},
		{messages, []string{"out"}, func(w *Report) float64 { return float64(w.DeflatedMessages) }},
		{bytes, []string{"in", "plain"}, func(w *Report) float64 { return float64(w.InflatedPlain) }},
		{bytes, []string{"in", "compressed"}, func(w *Report) float64 { return float64(w.InflatedCompressed) }},
		{bytes, []string{"out", "plain"}, func(w *Report) float64 { return float64(w.DeflatedPlain) }},
		{bytes, []string{"out", "compressed"}, func(w *Report) float64 { return float64(w.DeflatedCompressed) }},
	}
}

// families returns the counters that have a value for each key of a map.
func families() []labeled {
	of := func(name, help, label string, values func(*Report) map[string]uint64) labeled {
		return labeled{describe(name, help, "worker", label), values, &labelSet{}}
	}
	return []labeled{
		of("disconnects_total", "Connections ended, by close code: those of your application are 3xxx and 4xxx.", "code",
			func(w *Report) map[string]uint64 { return w.Closed }),
		of("handshake_failures_total", "Handshakes and requests for tickets refused, by HTTP status, "+
			"and again by reason if authentication, a limit per user or the application refused.", "reason",
			func(w *Report) map[string]uint64 { return mergeMaps(w.Refused, w.AuthRefused, added) }),
		of("limit_hits_total", "Hits of a limit.", "limit",
			func(w *Report) map[string]uint64 { return w.Limits }),
		of("handoff_stays_total", "Connections that could not move, by reason.", "reason",
			func(w *Report) map[string]uint64 { return w.Stays }),
		of("tls_handshakes_total", "Handshakes of TLS: by version, or why there was none.", "result",
			func(w *Report) map[string]uint64 { return w.TLS }),
		of("tls_suites_total", "Handshakes of TLS that were completed, by cipher suite.", "suite",
			func(w *Report) map[string]uint64 { return w.TLSSuites }),
		of("recoveries_total", "Recoveries of subscriptions, by result, and the messages that they sent.", "result",
			func(w *Report) map[string]uint64 { return w.History }),
		of("session_operations_total", "Operations on sessions, by result.", "result",
			func(w *Report) map[string]uint64 {
				others := maps.Clone(w.Session)
				delete(others, sessionDeferred)
				delete(others, sessionRefused)
				return others
			}),
	}
}

// Describe sends the descriptions of all metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range slices.Concat(c.gauges, c.counters) {
		ch <- f.desc
	}
	for _, f := range c.families {
		ch <- f.desc
	}
	for _, d := range []*prometheus.Desc{
		c.restarts, c.handoff, c.handoffSeconds, c.state, c.build, c.draining, c.sessions, c.storeUp, c.revocations, c.feedUp,
		c.limits, c.stale, c.planeUp, c.planeTopics, c.planeQueue, c.planeEvents,
		c.planeLag, c.machines, c.tlsSeconds,
		c.historyTopics, c.historyMessages, c.historyBytes, c.historyEvents,
		c.autoOrders, c.autoFailing, c.autoNext,
		c.presenceUp, c.presenceTopics, c.presenceMembers, c.presenceEvents,
	} {
		ch <- d
	}
}

// Collect sends the current values of all metrics.
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
		if len(all.TLSTook) > 0 {
			sendHistogram(ch, c.tlsSeconds, all.TLSTook, float64(all.TLSMicroseconds)/1e6, slot)
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
	send(ch, c.draining, prometheus.GaugeValue, flag(p.Draining))
	send(ch, c.revocations, prometheus.GaugeValue, float64(p.Revocations))
	if p.HasStore {
		send(ch, c.storeUp, prometheus.GaugeValue, flag(p.StoreUp))
		send(ch, c.feedUp, prometheus.GaugeValue, flag(p.FeedUp))
	}
	if b := p.Backplane; b != nil {
		send(ch, c.planeUp, prometheus.GaugeValue, flag(b.Up))
		send(ch, c.planeTopics, prometheus.GaugeValue, float64(b.Topics))
		send(ch, c.planeQueue, prometheus.GaugeValue, float64(b.QueuedBytes))
		send(ch, c.planeLag, prometheus.GaugeValue, b.LagSeconds)
		if b.Machines > 0 {
			send(ch, c.machines, prometheus.GaugeValue, float64(b.Machines))
		}
		for event, n := range b.Events {
			send(ch, c.planeEvents, prometheus.CounterValue, float64(n), event)
		}
	}
	if m := p.Presence; m != nil {
		up := 0.0
		if m.Up {
			up = 1
		}
		send(ch, c.presenceUp, prometheus.GaugeValue, up)
		send(ch, c.presenceTopics, prometheus.GaugeValue, float64(m.Topics))
		send(ch, c.presenceMembers, prometheus.GaugeValue, float64(m.Members))
		for event, n := range m.Events {
			send(ch, c.presenceEvents, prometheus.CounterValue, float64(n), event)
		}
	}
	if h := p.History; h != nil {
		send(ch, c.historyTopics, prometheus.GaugeValue, float64(h.Topics))
		send(ch, c.historyMessages, prometheus.GaugeValue, float64(h.Messages))
		send(ch, c.historyBytes, prometheus.GaugeValue, float64(h.Bytes))
		for event, n := range h.Events {
			send(ch, c.historyEvents, prometheus.CounterValue, float64(n), event)
		}
	}
	if a := p.Certificates; a != nil {
		send(ch, c.autoOrders, prometheus.CounterValue, float64(a.Issued), "issued")
		send(ch, c.autoOrders, prometheus.CounterValue, float64(a.Failed), "failed")
		send(ch, c.autoFailing, prometheus.GaugeValue, float64(a.Failing))
		send(ch, c.autoNext, prometheus.GaugeValue, a.Next)
	}
	send(ch, c.build, prometheus.GaugeValue, 1, valid(p.Version), runtime.Version())
}

// flag returns a bool as the value of a metric.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var _ prometheus.Collector = (*collector)(nil)

// send sends one value. An error is a bug of ours; it is visible in the scrape.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

// sendHistogram sends a histogram of which counts has the intervals, by their upper bounds. What is no number, +Inf
// included, counts as above the last one.
func sendHistogram(
	ch chan<- prometheus.Metric, d *prometheus.Desc, counts map[string]uint64, sum float64, slot string,
) {
	buckets := make(map[float64]uint64)
	var total uint64
	for text, n := range counts {
		total += n
		if bound, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(bound, 0) && !math.IsNaN(bound) {
			buckets[bound] = n
		}
	}
	var below uint64
	for _, bound := range slices.Sorted(maps.Keys(buckets)) {
		below += buckets[bound]
		buckets[bound] = below
	}
	m, err := prometheus.NewConstHistogram(d, total, sum, buckets, slot)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

// valid returns s as the value of a label, which must be UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "�") }

// labelSet remembers the first values of a label. It bounds the number of metrics where clients choose the values. A
// value that is not in the set is counted as other forever: if a count moved to another label, a counter would
// decrease.
type labelSet struct {
	mu    sync.Mutex
	known map[string]bool
}

// fold returns the counts in a new map, where labels beyond the limit are added up.
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

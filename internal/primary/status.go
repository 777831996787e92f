package primary

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// limitWorkerQueue names the limit on messages that wait for a worker. The hub counts those beyond it.
const limitWorkerQueue = "worker_queue"

// reports asks all workers for their reports, and brings the totals up to date with what the hub has counted.
func (s *ControlServer) reports(ctx context.Context) []telemetry.SlotReport {
	for slot, n := range s.workers.Stats().Dropped {
		if n > 0 {
			s.totals.SetOwn(slot, telemetry.Report{Limits: map[string]uint64{limitWorkerQueue: n}})
		}
	}
	return s.workers.Reports(ctx)
}

// Status returns the state of the server and of its workers.
func (s *ControlServer) Status(ctx context.Context) (control.Status, error) {
	reports, stats := s.reports(ctx), s.workers.Stats()
	st := control.Status{
		Version: s.cfg.Version, PID: os.Getpid(), UptimeSeconds: time.Since(s.began).Seconds(),
		Scheduling: stats.Scheduling, Generation: stats.Generation, Handoff: stats.Handoff, Auth: s.cfg.Auth,
	}
	if list := s.serving.Load(); list != nil {
		st.Listeners = *list
		for _, l := range *list {
			if l.Network != listener.Unix {
				st.Addresses = append(st.Addresses, l.Address)
			}
		}
	}
	if s.roller != nil {
		st.Rolling = s.roller.progress.Load()
	}
	s.addHealth(ctx, &st, reports)
	for i, r := range reports {
		s.totals.Add(r)
		latest := i == len(reports)-1 || reports[i+1].Slot != r.Slot // of its slot
		if n := stats.Dropped[r.Slot]; n > 0 && latest {
			limits := map[string]uint64{limitWorkerQueue: n}
			maps.Copy(limits, r.Limits)
			r.Limits = limits
		}
		addWorker(&st, r, stats.Restarts[r.Slot])
	}
	sum := s.totals.Sum()
	st.Totals.MessagesIn, st.Totals.MessagesOut = sum.MessagesIn(), sum.MessagesOut()
	st.Totals.BytesIn, st.Totals.BytesOut, st.Totals.Limits = sum.BytesIn, sum.BytesOut, sum.Limits
	if sum.InflatedMessages+sum.DeflatedMessages > 0 {
		st.Totals.Compressed = &control.Compressed{
			MessagesIn: sum.InflatedMessages, PlainIn: sum.InflatedPlain, BytesIn: sum.InflatedCompressed,
			MessagesOut: sum.DeflatedMessages, PlainOut: sum.DeflatedPlain, BytesOut: sum.DeflatedCompressed,
		}
	}
	st.Draining = s.drainer.status(st.Totals.Connections)
	st.TLS = tlsStatus(st.Listeners, sum.TLS, reports)
	if st.TLS != nil {
		st.TLS.Automatic = certificateStatus(s.cfg.Certificates)
	}
	st.Presence = presenceStatus(s.cfg.Members)
	st.History = historyStatus(s.cfg.Histories, sum.History)
	for name, n := range s.limits() {
		if st.Totals.Limits == nil {
			st.Totals.Limits = make(map[string]uint64)
		}
		st.Totals.Limits[name] += n
	}
	return st, nil
}

// tlsStatus returns what status tells of TLS, or nil if no listener has it and none has had it.
func tlsStatus(
	at []control.ListenerStatus, counts map[string]uint64, reports []telemetry.SlotReport,
) *control.TLSStatus {
	if len(counts) == 0 && !slices.ContainsFunc(at, func(l control.ListenerStatus) bool { return l.TLS }) {
		return nil
	}
	st := &control.TLSStatus{Versions: make(map[string]uint64)}
	for result, n := range counts {
		switch result {
		case "1.2", "1.3":
			st.Versions[result] = n
		case "failed", "abandoned", "not_tls":
			if st.Failures == nil {
				st.Failures = make(map[string]uint64)
			}
			st.Failures[result] = n
		}
	}
	var first float64
	for _, r := range reports {
		st.RereadFailing = st.RereadFailing || r.RereadFailing
		if at := r.CertificateExpires; at > 0 && (first == 0 || at < first) {
			first = at
		}
	}
	if first > 0 {
		expires := time.Unix(int64(first), 0)
		st.CertificateExpires = expires.UTC().Format(time.RFC3339)
		st.CertificateSeconds = time.Until(expires).Seconds()
	}
	return st
}

// addWorker adds a worker to the status, and its gauges to the totals.
func addWorker(st *control.Status, r telemetry.SlotReport, restarts uint64) {
	st.Workers = append(st.Workers, control.WorkerStatus{
		Slot: r.Slot, Generation: r.Generation, PID: r.PID, State: control.State(r.State), Stale: r.Stale,
		Connections: r.Connections, HTTPConnections: r.HTTPConnections, RSSBytes: r.RSSBytes, HeapBytes: r.HeapBytes,
		MessagesIn: r.MessagesIn(), MessagesOut: r.MessagesOut(), BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		LoopLagSeconds: r.LoopLagSeconds, Restarts: restarts, Limits: r.Limits,
	})
	st.Totals.Connections += r.Connections
	st.Totals.HTTPConnections += r.HTTPConnections
	st.Totals.RSSBytes += r.RSSBytes
	st.Totals.HeapBytes += r.HeapBytes
	st.Totals.Restarts += restarts
}

// addHealth adds what status tells of sessions, revocations and keys.
func (s *ControlServer) addHealth(ctx context.Context, st *control.Status, reports []telemetry.SlotReport) {
	h, stats := s.registry.Health(reports), s.registry.Stats()
	st.Degraded = append(h.Degraded(), missing(reports)...)
	st.Sessions = &control.SessionStatus{Store: s.registry.StoreName()}
	if !stats.External {
		st.Sessions.Sessions, st.Sessions.Connected = new(int64(stats.Sessions)), new(int64(stats.Connected))
	} else {
		st.Sessions.Connected = s.registry.Connected(ctx)
	}
	if h.Store.IsSet() {
		st.Sessions.Degraded, st.Sessions.Since, st.Sessions.Cause = true, h.Store.Since.Format(time.RFC3339), h.Store.Cause
	}
	if s.relay != nil {
		b := backplaneStatus(s.cfg.Backplane, s.relay.Stats())
		st.Backplane = &b
	}
	st.Revocations = &control.RevocationStatus{Revocations: int64(stats.Revocations), Current: h.Current}
	if h.Feed.IsSet() {
		st.Revocations.Degraded, st.Revocations.Cause = true, h.Feed.Cause
		st.Revocations.Since = h.Feed.Since.Format(time.RFC3339)
	}
}

// lagDegraded is how long a message waits for other machines before that is called degraded.
const lagDegraded = time.Second

func backplaneStatus(kind string, s relay.Stats) control.BackplaneStatus {
	b := control.BackplaneStatus{
		Kind: kind, Up: s.Backplane.Err == nil, Topics: int64(s.Topics), QueuedBytes: s.Backplane.Queued,
		Events: s.Counters(), LagSeconds: s.Backplane.Waiting.Seconds(), Machines: s.Machines,
	}
	switch {
	case s.Backplane.Err != nil:
		b.Cause = s.Backplane.Err.Error()
	case s.Backplane.Waiting >= lagDegraded:
		b.Cause = "messages wait to be sent"
	case s.AnnounceErr != nil:
		b.Cause = "this machine cannot be announced to the others: " + s.AnnounceErr.Error()
	}
	b.Degraded = b.Cause != ""
	return b
}

// missing names what none of the workers that serve has: keys to verify a token with, or a certificate.
func missing(reports []telemetry.SlotReport) (list []string) {
	serving, noKeys, noCertificates := 0, 0, 0
	for _, r := range reports {
		switch control.State(r.State) {
		case control.StateStarting, control.StateDead:
			continue
		}
		serving++
		if r.KeysMissing {
			noKeys++
		}
		if r.CertificatesMissing {
			noCertificates++
		}
	}
	if serving > 0 && noKeys == serving {
		list = append(list, registry.DegradedKeys)
	}
	if serving > 0 && noCertificates == serving {
		list = append(list, registry.DegradedCertificates)
	}
	return list
}

// primaryReport returns what the metrics tell of the primary.
func (s *ControlServer) primaryReport() telemetry.PrimaryReport {
	group, stats := s.workers.Stats(), s.registry.Stats()
	h := s.registry.Health(s.workers.LastReports())
	sessions, connected := int64(stats.Sessions), int64(stats.Connected)
	if stats.External { // other machines have sessions there, too
		sessions, connected = -1, -1
	}
	var plane *telemetry.BackplaneReport
	if s.relay != nil {
		now := s.relay.Stats()
		plane = &telemetry.BackplaneReport{
			Up: now.Backplane.Err == nil, Topics: now.Topics, QueuedBytes: now.Backplane.Queued, Events: now.Counters(),
			LagSeconds: now.Backplane.Waiting.Seconds(), Machines: now.Machines,
		}
	}
	return telemetry.PrimaryReport{
		Certificates: certificateReport(s.cfg.Certificates),
		Backplane:    plane, History: historyReport(s.cfg.Histories), Presence: presenceReport(s.cfg.Members),
		Version: s.cfg.Version, Restarts: group.Restarts, Draining: s.drainer.phase() != "",
		HandoffMoved: group.Handoff.Moved, HandoffFailed: group.Handoff.Failed + group.Handoff.Drained,
		HandoffSeconds: group.Handoff.LastSeconds,
		Sessions:       sessions, SessionsConnected: connected, Revocations: int64(stats.Revocations),
		HasStore: stats.External, StoreUp: !h.Store.IsSet(), FeedUp: h.Current && !h.Feed.IsSet(), Limits: s.limits(),
	}
}

// limits counts hits of the primary's own limits: requests that the control socket refused, sessions that found the
// store full or were ended early, log lines and bytes of workers' output that were dropped.
func (s *ControlServer) limits() map[string]uint64 {
	hits := make(map[string]uint64)
	count := func(name string, n uint64) {
		if n > 0 {
			hits[name] = n
		}
	}
	if s.listeners.control != nil {
		count("control", s.listeners.control.Refused())
	}
	count("presence_queries", s.registry.RefusedQueries())
	if s.cfg.Members != nil {
		count("presence", s.cfg.Members.Stats().Refused)
	}
	sessions := s.registry.Stats()
	count("sessions", sessions.Full)
	count("sessions_discarded", sessions.Discarded)
	count("worker_output", s.workers.Stats().OutputLost)
	if !s.cfg.Alone { // else the report of the only worker has it
		count("log_queue", s.cfg.Journal.Lost())
	}
	return hits
}

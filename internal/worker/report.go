package worker

import (
	"strconv"
	"sync"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// lagWatch keeps the worst lag of the event loop between two regular reports: a report that is asked for in between
// must not hide it.
type lagWatch struct {
	mu    sync.Mutex
	worst float64 // since the last regular report
	told  float64 // in the last regular report
}

// regular returns the lag for a regular report. Now is the worst since the loop was last asked.
func (l *lagWatch) regular(now float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told, l.worst = max(now, l.worst), 0
	return l.told
}

// between returns the lag for a report that is asked for.
func (l *lagWatch) between(now float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worst = max(l.worst, now)
	return max(l.told, l.worst)
}

// regularReport returns the report that the primary gets without asking.
func (w *Worker) regularReport() telemetry.Report {
	r := w.report()
	r.LoopLagSeconds = w.lag.regular(r.LoopLagSeconds)
	return r
}

// Report returns what this process has done and holds.
func (w *Worker) Report() telemetry.Report {
	r := w.report()
	r.LoopLagSeconds = w.lag.between(r.LoopLagSeconds)
	return r
}

func (w *Worker) report() telemetry.Report {
	s := w.engine.Stats()
	r := telemetry.Report{
		Connections: int64(s.Connections), Handshaking: int64(s.Handshaking), Subscriptions: int64(s.Subscriptions),
		HTTPConnections: int64(s.HTTPConnections),
		QueueBytes:      s.QueueBytes, PartialBytes: s.PartialBytes, LoopLagSeconds: s.LoopLag.Seconds(),
		Accepted: s.Accepted, Opened: s.Opened, HTTP: s.HTTP, Resets: s.Resets, Panics: s.Panics, Stalls: s.Stalls,
		TextIn: s.TextIn, BinaryIn: s.BinaryIn, TextOut: s.TextOut, BinaryOut: s.BinaryOut,
		BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Compressions:     s.Compressions,
		InflatedMessages: s.Inflated.Messages, InflatedPlain: s.Inflated.Plain, InflatedCompressed: s.Inflated.Compressed,
		DeflatedMessages: s.Deflated.Messages, DeflatedPlain: s.Deflated.Plain, DeflatedCompressed: s.Deflated.Compressed,
		Closed: s.Closed, Limits: s.Limits, Stays: s.Stays, Refused: make(map[string]uint64, len(s.Refused)),
	}
	for result, n := range map[string]uint64{
		"recovered": s.Recovered, "not_recovered": s.NotRecovered, "messages": s.Recalled,
	} {
		if n > 0 {
			if r.History == nil {
				r.History = make(map[string]uint64)
			}
			r.History[result] = n
		}
	}
	for status, count := range s.Refused {
		r.Refused[strconv.Itoa(status)] = count
	}
	for name, n := range map[string]uint64{
		"publish_queue": w.local.Refused(),
		"log_queue":     w.Journal.Lost(),
		"tickets":       w.admission.RefusedTickets(),
		"http_queue":    w.fallback.refused.Load(),
		"profiles":      w.registry.RefusedProfiles(),
	} {
		if n > 0 {
			r.Limits[name] = n
		}
	}
	r.AuthRefused = w.admission.Refused()
	r.Session = w.tracker.Stats()
	if fault := w.tracker.StoreFault(); fault.IsSet() {
		r.StoreDownSince = float64(fault.Since.Unix())
	}
	r.KeysMissing, r.CertificatesMissing = w.admission.KeysMissing(), w.certificatesMissing()
	r.Unready, r.Leaving = !w.Readiness().Ready, w.leaving.Load()
	if w.Secure != nil {
		r.TLS = w.Secure.Counts()
		if at := w.Secure.Expires(); !at.IsZero() { // no automatic certificate has come yet
			r.CertificateExpires = float64(at.Unix())
		}
		r.RereadFailing = !w.Secure.Rereads()
		done := w.Secure.Completed()
		r.TLSSuites, r.TLSTook, r.TLSMicroseconds = done.Suites, done.Took, done.Microseconds
	}
	r.LogsLeftOut = w.leftOut.Load()
	r.ReadProcess()
	return r
}

// countLeftOut logs and counts the lines about clients that were left out since the last call.
func (w *Worker) countLeftOut() {
	if n := w.Journal.Clients.Suppressed(); n > 0 {
		w.leftOut.Add(n)
		w.log.Info("lines about clients that connect and disconnect were left out", "lines", n)
	}
	if n := w.Journal.Faults.Suppressed(); n > 0 {
		w.leftOut.Add(n)
		w.log.Warn("lines about panics were left out", "lines", n)
	}
}

// Readiness is what /readyz answers.
type Readiness struct {
	Ready    bool     `json:"ready"`
	Worker   int      `json:"worker,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
}

// Readiness reports whether the worker takes new clients.
func (w *Worker) Readiness() Readiness {
	h := w.tracker.Health()
	r := Readiness{Ready: !w.draining.Load() && !w.eviction.active(), Worker: w.Slot, Degraded: h.Degraded()}
	r.Ready = r.Ready && (!w.Sessions.Require || h.Current && !h.Store.IsSet())
	if w.admission.KeysMissing() {
		r.Degraded = append(r.Degraded, registry.DegradedKeys)
		r.Ready = r.Ready && w.Admission().Mode != access.Required
	}
	if w.certificatesMissing() {
		r.Degraded = append(r.Degraded, registry.DegradedCertificates)
	}
	return r
}

// certificatesMissing reports whether clients should use TLS, and none of them can: no certificate has come yet.
func (w *Worker) certificatesMissing() bool { return w.Secure != nil && w.Secure.Expires().IsZero() }

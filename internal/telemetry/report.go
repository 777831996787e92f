package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
)

// Report is what a worker reports once a second about its own process, since that began. The zero value is the report
// of a worker that has done nothing. Nil maps are empty.
type Report struct {
	// Gauges are current values.
	Connections     int64   `json:"conns,omitzero"`       // open WebSocket connections
	Handshaking     int64   `json:"handshaking,omitzero"` // accepted sockets that are not WebSockets yet
	HTTPConnections int64   `json:"http_conns,omitzero"`  // with a request, or kept alive after one
	Subscriptions   int64   `json:"subs,omitzero"`
	QueueBytes      int64   `json:"queue,omitzero"`   // accepted by Send, but not by the kernel yet
	PartialBytes    int64   `json:"partial,omitzero"` // of incomplete messages and request heads
	LoopLagSeconds  float64 `json:"lag,omitzero"`     // the highest of all event loops in the last second
	HeapBytes       uint64  `json:"heap,omitzero"`    // see ReadProcess for this and the next two
	RSSBytes        uint64  `json:"rss,omitzero"`
	Goroutines      int64   `json:"goroutines,omitzero"`

	// Counters only increase.
	Accepted  uint64 `json:"accepted,omitzero"` // sockets
	Opened    uint64 `json:"opened,omitzero"`   // handshakes that succeeded
	HTTP      uint64 `json:"http,omitzero"`     // requests that were not handshakes
	Resets    uint64 `json:"resets,omitzero"`   // connections that ended without a close frame
	Panics    uint64 `json:"panics,omitzero"`   // in handlers
	Stalls    uint64 `json:"stalls,omitzero"`   // callbacks that blocked an event loop for too long
	TextIn    uint64 `json:"text_in,omitzero"`  // messages; so are the next three
	BinaryIn  uint64 `json:"bin_in,omitzero"`
	TextOut   uint64 `json:"text_out,omitzero"`
	BinaryOut uint64 `json:"bin_out,omitzero"`
	BytesIn   uint64 `json:"bytes_in,omitzero"` // on the wire
	BytesOut  uint64 `json:"bytes_out,omitzero"`

	Compressions uint64 `json:"compressions,omitzero"` // calls of the compressor
	// Compressed messages, and the bytes of their payloads without and with compression.
	InflatedMessages   uint64 `json:"inflated,omitzero"`
	InflatedPlain      uint64 `json:"inflated_plain,omitzero"`
	InflatedCompressed uint64 `json:"inflated_compressed,omitzero"`
	DeflatedMessages   uint64 `json:"deflated,omitzero"`
	DeflatedPlain      uint64 `json:"deflated_plain,omitzero"`
	DeflatedCompressed uint64 `json:"deflated_compressed,omitzero"`

	Closed  map[string]uint64 `json:"closed,omitempty"`  // connections that ended, by close code
	Refused map[string]uint64 `json:"refused,omitempty"` // handshakes that failed, by HTTP status
	Limits  map[string]uint64 `json:"limits,omitempty"`  // hits, by name

	Stays map[string]uint64 `json:"stays,omitempty"` // connections that could not move, by reason

	AuthRefused map[string]uint64 `json:"auth,omitempty"` // handshakes that failed, by auth.Reason
	// Session counts operations on sessions. Writes that wait for the store to come back are "deferred", those that
	// were given up "refused". The other names are values of the label result.
	Session     map[string]uint64 `json:"session,omitempty"`
	TLS         map[string]uint64 `json:"tls,omitempty"`          // handshakes of TLS, by version or failure
	History     map[string]uint64 `json:"history,omitempty"`      // recoveries by result, and publications that they sent
	LogsLeftOut uint64            `json:"logs_left_out,omitzero"` // log lines that a Sampler suppressed

	// StoreDownSince is the Unix time since which the worker cannot use the session store, or 0. It is a gauge.
	StoreDownSince float64 `json:"store_down,omitzero"`
	// KeysMissing is set if the worker has no keys to verify tokens with.
	KeysMissing bool `json:"keys_missing,omitzero"`
	// CertificatesMissing is set if clients should use TLS, and no certificate has come yet.
	CertificatesMissing bool `json:"certs_missing,omitzero"`
	// CertificateExpires is the Unix time when the first certificate expires, or 0. It is a gauge.
	CertificateExpires float64 `json:"cert_expires,omitzero"`
	// RereadFailing is set if the files of certificates could not be used when they were read again.
	RereadFailing bool `json:"cert_reread_failing,omitzero"`
	// Unready is set if the worker takes no new clients: its /readyz answers 503.
	Unready bool `json:"unready,omitzero"`
	// Leaving is set if another process than the primary has asked the worker to end: it wants to be replaced.
	Leaving bool `json:"leaving,omitzero"`

	// Handshakes of TLS that were completed, by cipher suite, and by the upper bound in seconds of how long they took, or
	// +Inf. TLSMicroseconds is the sum of those times. They are counters.
	TLSSuites       map[string]uint64 `json:"tls_suites,omitempty"`
	TLSTook         map[string]uint64 `json:"tls_took,omitempty"`
	TLSMicroseconds uint64            `json:"tls_us,omitzero"`
}

// MessagesIn returns the number of messages received.
func (w Report) MessagesIn() uint64 { return w.TextIn + w.BinaryIn }

// MessagesOut returns the number of messages sent.
func (w Report) MessagesOut() uint64 { return w.TextOut + w.BinaryOut }

// Encode encodes the report as compact JSON, so that workers and primaries of neighboring versions understand each
// other. A LoopLagSeconds that is NaN or infinite becomes 0.
func (w Report) Encode() []byte {
	if math.IsNaN(w.LoopLagSeconds) || math.IsInf(w.LoopLagSeconds, 0) {
		w.LoopLagSeconds = 0
	}
	b, err := json.Marshal(w)
	if err != nil { // cannot happen: numbers and maps of them
		return []byte("{}")
	}
	return b
}

// ParseReport parses the output of Encode. It keeps no reference to b and ignores unknown fields.
func ParseReport(b []byte) (Report, error) {
	var w Report
	if err := json.Unmarshal(b, &w); err != nil {
		return Report{}, fmt.Errorf("telemetry: report of a worker: %w", err)
	}
	return w, nil
}

// plus adds two reports, both gauges and counters. Of the lags it takes the larger. The result shares no map with
// either.
func (w Report) plus(o Report) Report {
	sum := w.merge(o, added)
	sum.Connections = w.Connections + o.Connections
	sum.Handshaking = w.Handshaking + o.Handshaking
	sum.HTTPConnections = w.HTTPConnections + o.HTTPConnections
	sum.Subscriptions = w.Subscriptions + o.Subscriptions
	sum.QueueBytes = w.QueueBytes + o.QueueBytes
	sum.PartialBytes = w.PartialBytes + o.PartialBytes
	sum.LoopLagSeconds = max(w.LoopLagSeconds, o.LoopLagSeconds)
	sum.HeapBytes = w.HeapBytes + o.HeapBytes
	sum.RSSBytes = w.RSSBytes + o.RSSBytes
	sum.Goroutines = w.Goroutines + o.Goroutines
	sum.StoreDownSince = max(w.StoreDownSince, o.StoreDownSince)
	sum.CertificateExpires = max(w.CertificateExpires, o.CertificateExpires) // all workers read the same files
	sum.RereadFailing = w.RereadFailing || o.RereadFailing
	sum.KeysMissing = w.KeysMissing || o.KeysMissing
	sum.CertificatesMissing = w.CertificatesMissing || o.CertificatesMissing
	sum.Unready, sum.Leaving = w.Unready || o.Unready, w.Leaving || o.Leaving
	return sum
}

// merge combines the counters of two reports by op, and leaves gauges at zero. The result shares no map with either.
func (w Report) merge(o Report, op func(a, b uint64) uint64) Report {
	return Report{
		Accepted:  op(w.Accepted, o.Accepted),
		Opened:    op(w.Opened, o.Opened),
		HTTP:      op(w.HTTP, o.HTTP),
		Resets:    op(w.Resets, o.Resets),
		Panics:    op(w.Panics, o.Panics),
		Stalls:    op(w.Stalls, o.Stalls),
		TextIn:    op(w.TextIn, o.TextIn),
		BinaryIn:  op(w.BinaryIn, o.BinaryIn),
		TextOut:   op(w.TextOut, o.TextOut),
		BinaryOut: op(w.BinaryOut, o.BinaryOut),
		BytesIn:   op(w.BytesIn, o.BytesIn),
		BytesOut:  op(w.BytesOut, o.BytesOut),
		Closed:    mergeMaps(w.Closed, o.Closed, op),
		Refused:   mergeMaps(w.Refused, o.Refused, op),
		Limits:    mergeMaps(w.Limits, o.Limits, op),

		Compressions:       op(w.Compressions, o.Compressions),
		InflatedMessages:   op(w.InflatedMessages, o.InflatedMessages),
		InflatedPlain:      op(w.InflatedPlain, o.InflatedPlain),
		InflatedCompressed: op(w.InflatedCompressed, o.InflatedCompressed),
		DeflatedMessages:   op(w.DeflatedMessages, o.DeflatedMessages),
		DeflatedPlain:      op(w.DeflatedPlain, o.DeflatedPlain),
		DeflatedCompressed: op(w.DeflatedCompressed, o.DeflatedCompressed),

		Stays: mergeMaps(w.Stays, o.Stays, op),

		AuthRefused: mergeMaps(w.AuthRefused, o.AuthRefused, op),
		Session:     mergeMaps(w.Session, o.Session, op),
		History:     mergeMaps(w.History, o.History, op),
		TLS:         mergeMaps(w.TLS, o.TLS, op),
		LogsLeftOut: op(w.LogsLeftOut, o.LogsLeftOut),

		TLSSuites:       mergeMaps(w.TLSSuites, o.TLSSuites, op),
		TLSTook:         mergeMaps(w.TLSTook, o.TLSTook, op),
		TLSMicroseconds: op(w.TLSMicroseconds, o.TLSMicroseconds),
	}
}

func added(a, b uint64) uint64 { return a + b }

func larger(a, b uint64) uint64 { return max(a, b) }

// mergeMaps combines two maps into a third, which is nil if both are empty.
func mergeMaps(a, b map[string]uint64, op func(a, b uint64) uint64) map[string]uint64 {
	if len(a)+len(b) == 0 {
		return nil
	}
	merged := make(map[string]uint64, max(len(a), len(b)))
	maps.Copy(merged, a)
	for k, n := range b {
		merged[k] = op(merged[k], n)
	}
	return merged
}

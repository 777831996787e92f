package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
)

// Report is what a worker reports once a second, about itself only and since its process began. The zero value is the
// report of a worker that has done nothing. Nil maps are empty.
type Report struct {
	// Gauges: how things are now.
	Connections     int64   `json:"conns,omitzero"`       // open WebSocket connections
	Handshaking     int64   `json:"handshaking,omitzero"` // accepted sockets that are no WebSocket yet
	HTTPConnections int64   `json:"http_conns,omitzero"`  // with a request, or kept alive after one
	Subscriptions   int64   `json:"subs,omitzero"`
	QueueBytes      int64   `json:"queue,omitzero"`   // accepted by Send, and not by the kernel yet
	PartialBytes    int64   `json:"partial,omitzero"` // of messages and request heads that are not complete
	LoopLagSeconds  float64 `json:"lag,omitzero"`     // the worst of the event loops in the last second
	HeapBytes       uint64  `json:"heap,omitzero"`    // see ReadProcess, as the next two
	RSSBytes        uint64  `json:"rss,omitzero"`
	Goroutines      int64   `json:"goroutines,omitzero"`

	// Counters: they only grow.
	Accepted  uint64 `json:"accepted,omitzero"` // sockets
	Opened    uint64 `json:"opened,omitzero"`   // handshakes that succeeded
	HTTP      uint64 `json:"http,omitzero"`     // requests that were no handshakes
	Resets    uint64 `json:"resets,omitzero"`   // connections that ended without a close frame
	Panics    uint64 `json:"panics,omitzero"`   // of handlers
	Stalls    uint64 `json:"stalls,omitzero"`   // callbacks that held an event loop too long
	TextIn    uint64 `json:"text_in,omitzero"`  // messages, as the next three
	BinaryIn  uint64 `json:"bin_in,omitzero"`
	TextOut   uint64 `json:"text_out,omitzero"`
	BinaryOut uint64 `json:"bin_out,omitzero"`
	BytesIn   uint64 `json:"bytes_in,omitzero"` // on the wire
	BytesOut  uint64 `json:"bytes_out,omitzero"`

	Closed  map[string]uint64 `json:"closed,omitempty"`  // connections that ended, by close code
	Refused map[string]uint64 `json:"refused,omitempty"` // handshakes that failed, by HTTP status
	Limits  map[string]uint64 `json:"limits,omitempty"`  // hits, by the limit's name

	Stays map[string]uint64 `json:"stays,omitempty"` // connections that were to move and cannot, by reason

	AuthRefused map[string]uint64 `json:"auth,omitempty"` // handshakes that failed, by package auth's reason
	// Session counts what was done with sessions, by name. What was put off until the store is back is deferred, what
	// was given up refused; the other names are those of the label result.
	Session     map[string]uint64 `json:"session,omitempty"`
	LogsLeftOut uint64            `json:"logs_left_out,omitzero"` // log lines that a Sampler did not allow

	// StoreDownSince is since when the worker cannot use the session store: Unix time, or 0. A gauge.
	StoreDownSince float64 `json:"store_down,omitzero"`
	// KeysMissing says that the worker has no keys to verify tokens with.
	KeysMissing bool `json:"keys_missing,omitzero"`
}

// MessagesIn is the number of messages that came, of both types.
func (w Report) MessagesIn() uint64 { return w.TextIn + w.BinaryIn }

// MessagesOut is the number of messages that went, of both types.
func (w Report) MessagesOut() uint64 { return w.TextOut + w.BinaryOut }

// Encode makes the message that carries the report: compact JSON, so that workers and primary of neighboring versions
// understand each other. A LoopLagSeconds that is no number counts as 0.
func (w Report) Encode() []byte {
	if math.IsNaN(w.LoopLagSeconds) || math.IsInf(w.LoopLagSeconds, 0) {
		w.LoopLagSeconds = 0
	}
	b, err := json.Marshal(w)
	if err != nil { // cannot be: numbers, and maps of them
		return []byte("{}")
	}
	return b
}

// ParseReport reads what Encode made. It keeps nothing of b; fields that it does not know are ignored.
func ParseReport(b []byte) (Report, error) {
	var w Report
	if err := json.Unmarshal(b, &w); err != nil {
		return Report{}, fmt.Errorf("telemetry: report of a worker: %w", err)
	}
	return w, nil
}

// plus adds two reports, gauges and counters. The lag is the worse of the two. The result shares no map with either.
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
	sum.KeysMissing = w.KeysMissing || o.KeysMissing
	return sum
}

// merge makes one counter of two, for all counters; gauges are left at zero. The result shares no map with either.
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

		Stays: mergeMaps(w.Stays, o.Stays, op),

		AuthRefused: mergeMaps(w.AuthRefused, o.AuthRefused, op),
		Session:     mergeMaps(w.Session, o.Session, op),
		LogsLeftOut: op(w.LogsLeftOut, o.LogsLeftOut),
	}
}

func added(a, b uint64) uint64 { return a + b }

func larger(a, b uint64) uint64 { return max(a, b) }

// mergeMaps merges two maps in a third, nil if both are empty.
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

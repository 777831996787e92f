// Package telemetry contains the logs and metrics of a running Expedite.
//
// Logs: [NewLogger] returns a slog.Logger that writes colored text to a terminal, and JSON otherwise. [OpenJournal]
// puts a chain of handlers in front of it or of a file:
//
//	record → NewRedactor (removes secrets) → Tap (recent lines, subscribers) → text or JSON → File (rotation)
//	Subscriber → Filter → control socket → expedite logs
//
// A [Sampler] limits the lines about clients that connect and disconnect.
//
// Metrics flow in one direction, once a second and once per scrape:
//
//	counters of the event loops → Report of a worker → Encode → socket of the cluster → ParseReport
//	→ Totals (in the primary: sums that outlive a process) → Metrics → Prometheus text
//
// Nothing in this package is called per message or per connection.
//
// Concurrency: everything about logs is safe for concurrent use, and nothing waits for a subscriber. A Report is a
// plain value; its maps belong to the code that created or parsed it. Totals and Metrics are safe for concurrent use.
// The functions passed to NewMetrics are called on the goroutines that serve scrapes, possibly several at a time, and
// the maps that they return are read until the scrape ends: return values that do not change any more.
package telemetry

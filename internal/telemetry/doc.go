// Package telemetry is what an Expedite tells about itself as it runs: log lines and metrics.
//
// Logs: [NewLogger] makes a slog.Logger, colored text for people at a terminal and JSON for everything else. Before it
// stand two handlers, and behind it a file may:
//
//	record → NewRedactor (takes secrets out) → Tap (recent lines, followers) → text or JSON → File (rotation)
//	Follower → Match → control socket → expedite logs
//
// A [Sampler] bounds the lines about clients that come and go.
//
// Metrics go one way, once a second and once per scrape:
//
//	event loops' plain counters → Worker (a worker's report) → Encode → the cluster's socket → ParseWorker
//	→ Totals (in the primary: sums that outlive a process) → Metrics → Prometheus text
//
// Nothing here is called per message or per connection.
//
// Concurrency: all of the log part may be used from any goroutine, and nobody waits for a reader. A Worker is a plain
// value with maps that belong to whoever made or parsed it. Totals and Metrics may be used from any goroutine; the
// functions given to NewMetrics are called from those that serve scrapes, several at a time if several scrape, and the
// maps that they return are read until the scrape ends: hand out values that nobody changes any more.
package telemetry

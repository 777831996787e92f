// Package storeguard makes an outage of a session store harmless. A [Guard] is a session.Store between a worker and its
// main store, which may become unreachable, and a spare store, which does not: the memory of the primary.
//
//	Guard ─┬─ breaker ──────► main store (Redis, or the application's own)
//	       ├─ spareSessions ─► spare store
//	       ├─ writeQueue
//	       ├─ endQueue
//	       └─ recovery, during an outage
//
// The breaker detects outages, and stops asking the main store. From then on, new connections get sessions in the spare
// store, writes are queued and fail with session.ErrDeferred, the ends of connections are recorded, and everything else
// fails with session.ErrUnavailable. The recovery probes the main store until it is back. Then it moves the sessions,
// replays the writes in order, and reports the ends.
//
// A connection may move to another worker during an outage. Its Guard passes on what it knows of the session: see
// [Guard.Carry].
package storeguard

// Package session keeps sessions: what outlives a client's connection, and the worker that served it.
//
//	worker: Guard ─┬─► Redis (any number of machines)
//	               └─► Client ── messages ──► primary: Serve ─► Memory
//
// A [Store] is the contract; package sessiontest is its suite of tests, which every store here passes. [Memory] lives
// in the primary of a machine. [Client] and [Serve] are a store over a link, of which they know nothing: that is how
// workers reach the Memory. [Redis] is one server, Sentinels or a Cluster. [Guard] stands in a worker between Redis,
// which may go away, and the primary's Memory, which takes what cannot wait meanwhile. [Feed] is how machines that
// share a Redis tell each other what was revoked.
//
// # What is kept
//
// A session has an id of 128 random bits behind a tag that all sessions of its user share: in Redis they lie in one
// hash slot, which the id alone names. It has a user, parameters of the client, times, values of the application, and
// the [Place] of its connection, of which there is one at a time: the newest has the session, and the late end of an
// older one changes nothing. It lives for its TTL from when it was last attached, touched or detached.
//
// In Redis, with a prefix in front: {tag}:s:ID is a session, a hash with its values; {tag}:u:USER the sorted set of a
// user's sessions; {t:KEY} a ticket; {feed:NAME} a feed. All of them expire. A step is one script and one round trip.
//
// # Concurrency and limits
//
// All methods are safe for any goroutine and bounded by their context; those of Redis and Guard by their own timeout,
// too. Memory runs no goroutine, Redis one until it is connected, Guard one during an outage. What is stored has
// limits, which are constants here, and what a store may hold has those of its configuration; each hit is counted.
package session

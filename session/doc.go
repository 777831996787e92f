// Package session defines sessions: state that outlives a client's connection and the worker that served it.
//
// A [Store] keeps sessions. Package memstore keeps them in memory, package redisstore in Redis. Package sessiontest is
// the conformance suite: every Store must pass it.
//
// A [Session] has an [ID] of 128 random bits, preceded by a [Tag] that all sessions of its user share. It has a user,
// parameters of the client, times, values of the application, and the [Place] of its connection. A session has one
// connection at a time: the newest one. When an older connection ends late, its session does not change. A session
// expires when its TTL has passed since it was last attached, touched or detached.
//
// The constants of this package limit what one session may hold. Each store limits how much it holds in total.
package session

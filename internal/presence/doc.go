// Package presence finds out who is in a topic: which users, sessions or connections are subscribed to it.
//
//	worker:  Counts (subscriptions by member) ── Enter, Leave ──► broker.Hub ──► primary: Server (Roster)
//	primary: Server ── Change ──► broker.Hub ──► every worker, in the order of the topic's publications
//
// A member is in a topic once, however many of its connections are subscribed to it, in however many workers. It is
// there from its first subscription until it has had none for a while ("grace"): connections that move, or come back
// soon, are no change. A worker that dies has no subscriptions any more; those who come back in time were never away.
//
// A worker tells what changes, and everything when the hub asks, after which it sends a Told: so a Server that succeeds
// that of another program knows who has left meanwhile. What a worker tells twice changes nothing.
//
// [Roster] is the state of a machine as pure code. [Server] is its goroutine: it takes what the hub receives out of the
// hub's lock, and lets time pass.
package presence

// Package relay connects the hub of a machine with those of the others, over a backplane.
//
//	hub ── Publish ──► senders (numbers each topic) ── backplane ──► receivers (repetitions, gaps) ── Heard, Lost ──► hub
//
// A publication is delivered on its own machine at once, and sent to the others with the name of the machine and a
// number: the first publication of a machine on a topic has 1, the next one 2. A machine that gets the same number
// again drops it. A number that is missing is a gap, which the subscribers are told of.
//
// The last publications before an outage leave no later number that would show that they are missing. After each
// outage, a machine therefore asks the others ("resync"): each repeats, as a position, the last number of every topic
// on which it has published since. Positions take the way of publications, so they cannot overtake any.
//
// Topics with a history have one order for all machines, that of the history:
//
//	hub ── Append ──► own (waits for its place) ── backplane.History ──► series (holes, epochs) ── Placed, Lost ──► hub
//
// A publication gets its place from the backplane and is delivered when it arrives with it, after all earlier ones.
// What is missing is read from the history. While the backplane does not answer, publications of this machine are
// delivered here at once, without a place, and not again when they have one.
//
// A machine subscribes to the topics that have subscribers in its workers. It keeps a topic for a while that has lost
// its last one.
package relay

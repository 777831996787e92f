// Package broker carries messages between the workers of a machine: publications to a topic, and messages to one
// connection.
//
//	worker: Local.Publish ── Link ──► primary: Hub (number, pass on) ── Link ──► every worker: Local.Receive ── Deliver
//
// All publications of a machine have one order: the Hub numbers them, and every worker, the sender's included,
// delivers them in that order. So the messages of one publisher stay in order, and two subscribers never disagree.
//
// A message to a connection goes to the worker where the connection's id says that it began. If it has moved, that
// worker sends it back, and the Hub passes it to all others, once: nobody answers that, so a message to a connection
// that is gone ends there. Messages of one sender to one connection stay in order as long as the connection stays where
// it is and the first worker does not change: they all take the same way, whether that is one step or three, every Link
// keeps its order, and the Hub passes on what comes back in the order in which it comes. When the first worker ends,
// what it has not yet sent back can be overtaken or lost.
//
// Nothing here waits: a Link whose queue is full refuses, and that is reported to the publisher or, on the way from the
// Hub to a worker, counted. A slow worker misses messages; the others do not. Limits are MaxTopic, MaxPayload and what
// the Links take.
//
// One process alone wires a Hub and a Local together: see the example of NewHub. Package brokertest holds what every
// way of wiring must keep to.
//
// Local and Hub are safe for any goroutine, but for Local.Receive, whose calls must not overlap. They start no
// goroutine. Deliver runs in Local.Receive and may call the Local; Link.Send runs with the Hub's lock held and must not
// call the Hub.
package broker

// Package broker carries messages between the workers of a machine: publications to a topic, and messages to one
// connection.
//
//	worker: Local.Publish ── Link ──► primary: Hub (number, pass on) ── Link ──► every worker: Local.Receive ── Deliver
//
// All publications of a machine have one order: the Hub numbers them, and every worker, the sender's included, delivers
// them in that order. So the messages of one publisher stay in order, and two subscribers never disagree.
//
// A message to a connection goes to the worker where the connection's id says that it began. If it has moved, that
// worker sends it back, and the Hub passes it to all others, once. Messages of one sender to one connection stay in order
// as long as the connection stays where it is: they take the same way, and a Link keeps order.
//
// Nothing here waits: a Link whose queue is full refuses, and that is reported to the publisher or, on the way from the
// Hub to a worker, counted. A slow worker misses messages; the others do not.
//
// Local and Hub are safe for any goroutine, and start none.
package broker

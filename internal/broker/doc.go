// Package broker carries messages between the workers of a machine: publications to a topic, and messages to one
// connection.
//
//	worker: Local.Publish ── Link ──► primary: Hub (number, pass on) ── Link ──► every worker: Local.Receive ── Deliver
//
// All publications of a machine have one order: the Hub numbers them, and every worker, the sender's included,
// delivers them in that order. So the messages of one publisher stay in order, and two subscribers never disagree.
//
// A message to a connection goes to the worker where the connection's id says that it began, or where the connection
// has been reported to live now: see Local.Here. If it is not there, that worker sends it back, and the Hub passes it
// to all others, once: nobody answers that, so a message to a connection that is gone ends there. Messages of one
// sender to one connection stay in order as long as the connection stays where it is and the first worker does not
// change, or changes as below: they all take the same way, whether that is one step or three, every Link keeps its
// order, and the Hub passes on what comes back in the order in which it comes. When the first worker ends, what it has
// not yet sent back can be overtaken or lost.
//
// Workers can hand connections over while all this goes on. A slot is the place of a worker; while it is replaced, two
// are attached to it, which both hear all publications, and one, the leader, gets the messages to connections:
//
//	primary                               worker before                     worker after
//	Hub.Attach ─────────────────────────────────────────────────────────► Position: it hears what is later
//	Port.Hold of the one before
//	                                      Local.Fence; its answer: all has
//	                                      come that went here; connections
//	                                      and what came for them ─────────► Local.Redirect; in another slot: Local.Here,
//	                                                                        and a Fence, so that the Hub knows it
//	Port.Lead: what was held goes on ───────────────────────────────────► in order behind what was redirected
//	Port.Detach of the one before
//
// When a connection goes to another slot, Port.Lead is that of a port of the slot before: each message that was held
// goes to where its connection lives by then. What comes for a connection while messages for it are held waits behind
// them. A primary that replaces itself takes this along with Hub.AppendState and Hub.LoadState.
//
// Nothing here waits: a Link whose queue is full refuses, and that is reported to the publisher or, on the way from
// the Hub to a worker, counted. A slow worker misses messages; the others do not. Publications that it has missed are
// never passed over in silence: in their place, before any later one, it delivers a Gap for each topic that has missed
// some. If the topics are not known, it delivers one without a topic. Limits are MaxTopic, MaxPayload, MaxHeld,
// MaxAway, MaxGapTopics and what the Links take.
//
// One process alone wires a Hub and a Local together: see the example of NewHub. Package brokertest holds what every
// way of wiring must keep to.
//
// Local and Hub are safe for any goroutine, but for Local.Receive and Local.Redirect, whose calls must not overlap.
// They start no goroutine. Deliver runs in those two and may send by the Local; Link.Send runs with the Hub's lock
// held and must not call the Hub.
package broker

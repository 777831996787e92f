// Package broker carries messages between the workers of a machine: publications to topics, and messages to single
// connections.
//
//	worker: Local.Publish ── Link ──► primary: Hub (number, pass on) ── Link ──► every worker: Local.Receive ── Deliver
//
// All publications of a machine have one order: the Hub numbers them, and every worker, including the sender's,
// delivers them in that order. So the messages of one publisher stay in order, and all subscribers see the same
// order.
//
// A message to a connection goes to the worker where the connection began, as its id tells, or where the connection was
// reported to live now: see Local.Here. If the connection is not there, that worker sends the message back ("bounces"
// it), and the Hub sends it to all others, once. Nothing answers that, so a message to a connection that has ended ends
// there. Messages of one sender to one connection stay in order as long as the connection does not move and the first
// worker does not change, or changes as described below: all of them take the same route, whether it has one step or
// three, every Link keeps its order, and the Hub passes on what comes back in the order in which it arrives. When the
// first worker ends, messages that it has not sent back yet can be overtaken or lost.
//
// Workers can hand over connections meanwhile. A slot is the place of a worker. While a worker is being replaced, two
// are attached to its slot. Both receive all publications; one of them, the leader, receives the messages to
// connections:
//
//	primary                               worker before                     worker after
//	Hub.Attach ─────────────────────────────────────────────────────────► Position: it receives what is later
//	Port.Hold of the one before
//	                                      Local.Fence. Its answer: all
//	                                      that was sent here has arrived.
//	                                      Connections and messages for
//	                                      them ───────────────────────────► Local.Redirect; in another slot: Local.Here,
//	                                                                        and a Fence, so that the Hub knows it
//	Port.Lead: what was held is sent ───────────────────────────────────► in order after what was redirected
//	Port.Detach of the one before
//
// When connections move to another slot, Port.Lead is called on a port of the slot that they leave: each message that
// was held goes to where its connection lives by then. Messages for a connection that arrive while others for it are
// held wait behind them. A primary that replaces its program passes all this on with Hub.AppendState and
// Hub.LoadState.
//
// Nothing in this package waits. A Link whose queue is full refuses a message. That is reported to the publisher or, on
// the way from the Hub to a worker, counted: a slow worker misses messages, and the others do not. Missed publications
// are always reported: in their place, before any later publication, the worker delivers a Gap for each topic that has
// missed some. If the topics are not known, it delivers one Gap without a topic. The limits are MaxTopic, MaxPayload,
// MaxHeld, MaxAway, MaxGapTopics, MaxOwed and those of the Links.
//
// Topics may keep their latest publications: see History. A publication on such a topic has a Place, and a worker that
// asks (Local.Recall) gets pages of what was kept, on the same Link. The last page stands between the publication that
// it ends with and the next one, so a subscriber that joins at that point misses nothing and gets nothing twice.
//
// A single process connects a Hub and a Local directly: see the example of NewHub. Package brokertest is the
// conformance suite for every way of connecting them.
//
// Local and Hub are safe for concurrent use, except that calls of Local.Receive and Local.Redirect must not overlap.
// They start no goroutines. Deliver is called by those two methods, and may send with the Local. Link.Send is called
// with the Hub's lock held, and must not call the Hub.
package broker

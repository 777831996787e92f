// Package loadtest is the load generator behind `expedite bench`: it opens many WebSockets to a server, keeps them
// open, sends messages and measures.
//
//	Run (parent) -- order --> generator (one event loop per client process) -- sample, once a second --> Run -> Report
//
// Run controls a run. It starts client processes by package cluster, or one generator in its own process; it orders
// them to connect, send, stop and close, and it adds up their samples. A generator has one reactor loop with all of its
// connections, and uses package ws in the role of a client. A connection costs one record of type conn, but neither a
// goroutine nor a timer. A behavior decides what the connections do: clients implements the modes, users the virtual
// users of a Plan.
//
// # Times
//
// Messages have a schedule that does not wait for the server. Message n of a client is due n intervals after its first
// one, and its round-trip time counts from then, no matter when it was sent. If the server stalls for a second, all
// messages that were due in that second are slow, and not only the one that waited (coordinated omission). The report
// also shows how late messages were sent: if that is much, the load generator is the bottleneck. Without a rate there
// is no schedule, and the report states that times are not corrected.
//
// A message begins with a tag: its sender, its number, and its time on the clock of reactor.Monotonic, which is the
// same in all processes of a machine. Tags make it possible to time broadcasts in other processes than that of the
// publisher, and to find missing and duplicate messages.
//
// # Goroutines
//
// A run belongs to the goroutine that called Run, a generator to its loop. They communicate by orders and samples only.
// Blocking work (TLS handshakes, name resolution, connects on platforms without a poller) runs on goroutines that end
// with the generator and return their results to the loop by Post. Config.Token and all functions of a Plan are called
// on the loop, except Plan.Judge and Config.Progress, which Run calls.
package loadtest

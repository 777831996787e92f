// Package loadtest opens many WebSockets to a server, holds them, talks over them and measures: the load generator
// behind `expedite bench`.
//
//	Run (parent) -- order --> generator (one event loop per client process) -- sample, once a second --> Run -> Report
//
// Run is the conductor: it starts client processes by package cluster, or one generator in its own process, tells them
// when to connect, talk, be quiet and close, and adds up what they say. A generator has one reactor loop on which all
// of its connections live, with package ws in the client's role: a record of conn per connection, and neither
// goroutine nor timer. What its clients do is a behavior: crowd for the modes, users for the virtual users of a Plan.
//
// # Times
//
// Messages have a schedule that does not wait for the server: message n of a client is due at its first one plus n
// intervals, and its time is counted from then, whenever it was really sent. So a server that stands still for a second
// has all those against it that were due in that second, and not one only (coordinated omission). How late messages
// were sent is reported beside it: if that is much, this side is what is slow. Without a rate there is no schedule, and
// the report says that times are not corrected.
//
// A message begins with a tag: who sent it, its number, and its time on the clock of reactor.Monotonic, which is the
// same in all processes of a machine. That is how broadcasts are timed at receivers in other processes, and how what is
// missing or comes twice is found.
//
// # Goroutines
//
// A run belongs to the goroutine of Run, a generator to its loop; they talk by orders and samples only. What blocks,
// TLS, names and platforms without a poller, happens on goroutines that end with the generator, and comes to the loop
// by Post. Config.Token and everything in a Plan is called on the loop, but for Plan.Judge and Config.Progress, which
// are called by Run.
package loadtest

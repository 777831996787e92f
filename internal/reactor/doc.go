// Package reactor is the event loop: it tells one goroutine which sockets are ready, and knows nothing of what their
// bytes mean.
//
// The way of an event:
//
//	kernel -> poller (epoll) ----\
//	pump's goroutines -> inbox ---+-> Loop.turn -> Handler.Ready, Timeout -> Handler.Flush -> Socket.Write
//	Post, Wake (any goroutine) --/
//
// A turn takes the events that are there, calls the handler for each, runs what was posted, fires the deadlines that
// have passed, calls Flush once, and waits only if there is nothing else to do. Events are edge triggered.
//
// # Two kinds of socket
//
// A Socket is a descriptor in the poller (AddFD, and what Listen accepts on Linux) or a pump (AddConn): a net.Conn with
// a goroutine that reads and, while there is something to write, one that writes. Pumps carry TLS, and everything where
// there is no poller. To a handler both look the same; one suite of tests runs over both.
//
// # Who may call what
//
// A Loop belongs to the goroutine in Run: handler methods are called there, and the methods of Loop must be called
// there, or while Run is not running. Post, Wake, Stop, Runnable, Stats and Lag are for any goroutine. Handlers must
// not block. A Socket may be written by another goroutine than the one that reads it, but both have to end before it is
// closed: the caller sees to that.
//
// A Key names a socket for the loop. After Close, Remove or Detach its events are swallowed, including those that the
// running turn has already taken from the kernel.
//
// # Who owns what
//
// The loop owns its poller and duplicates of the listeners, and gives them back when Run returns. Sockets are the
// handler's: what is open when Run returns stays open until the handler closes it.
//
// # Waiting
//
// A loop that waits where the scheduler can see it loses its processor after 20 microseconds and has to get it back for
// the next event. So it waits unseen first (Options.RawWait), and visibly only when it was idle that long. The price is
// a processor that other goroutines cannot use meanwhile: run with GOMAXPROCS above the number of loops. With
// GOMAXPROCS of 1 all waits are visible, and a loop that never waits steps aside once in a millisecond. A stop of
// the world ends a wait that is unseen: the signal of preemption interrupts it, and the loop takes that as an empty
// turn. Goroutines that the handler starts are announced with Runnable.
package reactor

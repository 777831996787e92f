// Package reactor implements the event loop: it tells one goroutine which sockets are ready. It knows nothing about the
// meaning of their bytes.
//
// An event takes this path:
//
//	kernel -> poller (epoll) ----\
//	pump's goroutines -> inbox ---+-> Loop.turn -> Handler.Ready, Timeout -> Handler.Flush -> Socket.Write
//	Post, Wake (any goroutine) --/
//
// A turn takes the available events, calls the handler for each, runs what was posted, fires the deadlines that have
// passed, and calls Flush once. It waits only if there is nothing else to do. Events are edge triggered.
//
// # Two kinds of socket
//
// A Socket is either a descriptor in the poller (AddFD, and what Listen accepts on Linux) or a pump (AddConn): a
// net.Conn with a goroutine that reads and, while there is something to write, a goroutine that writes. Pumps are for
// TLS, and for every socket where there is no poller. Handlers see no difference; the same tests run over both.
//
// # Goroutines
//
// A Loop belongs to the goroutine in Run. Handler methods are called there, and methods of Loop must be called there or
// while Run is not running. Post, Wake, Stop, Runnable, Stats and Lag are safe for concurrent use. Handlers must not
// block. One goroutine may write a Socket while another one reads it, but the caller must ensure that both have
// finished before it is closed.
//
// A Key identifies a socket on the loop. After Close, Remove or Detach, its events are ignored, including those that
// the current turn has already taken from the kernel.
//
// # Ownership
//
// The loop owns its poller and duplicates of the listeners, and frees them when Run returns. Sockets belong to the
// handler: what is open when Run returns stays open until the handler closes it.
//
// # Waiting
//
// A loop that waits visibly to the scheduler loses its processor after 20 microseconds and has to get it back for the
// next event. So it first waits without informing the scheduler (Options.RawWait), and visibly only if it was idle that
// long. The price is a processor that other goroutines cannot use meanwhile: run with GOMAXPROCS above the number of
// loops. A stop of the world ends a raw wait: the preemption signal interrupts it, and the loop treats that as an empty
// turn.
//
// With GOMAXPROCS of 1, a busy loop waits in Go's own poller, which watches that of the loop: one thread runs the loop
// and the goroutines that wait for the network by turns. A loop that was idle waits visibly, without a timer of the
// runtime, and one that never waits yields once per millisecond. Handlers must report goroutines that they start with
// Runnable.
package reactor

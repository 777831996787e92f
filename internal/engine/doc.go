// Package engine connects the event loop and the protocol. It turns readable sockets into callbacks, and the output of
// callbacks into as few writes as possible.
//
// A message takes this path:
//
//	reactor (readable) -> Conn.read (into the loop's one buffer) -> ws.Reader (bytes to events, in place)
//	  -> Handler.Message -> Conn.Send -> outbox -> Engine.Flush (one write per connection and turn) -> socket
//
// # Goroutines
//
// An engine has one loop, and a connection belongs to that loop until it ends or moves to another worker. Reading, the
// opening handshake, timeouts and the end of a connection happen only on the loop's goroutine. Comments say "on the
// loop" for functions that must be called there. Any goroutine may queue output: Conn.mu guards the outbox, the state
// and the mailbox, and is never held while user code runs.
//
// Callbacks of one connection never overlap. With Route.Inline they run on the loop, must not block, and get the
// payload in the loop's read buffer. Otherwise they run one after another on a goroutine that exists only while the
// connection has callbacks to make. A silent connection owns no goroutine, no buffer and no timer.
//
// # Locks
//
// Engine.topicsMu is taken before Conn.mu, and Conn.mu before the leaf locks (dirtyMu, idsMu, rateLimiter.mu). The only
// system call under a lock is a non-blocking write.
package engine

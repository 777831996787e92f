// Package engine joins the event loop and the protocol: it turns readable sockets into callbacks and what callbacks
// send into as few writes as the sockets take.
//
// The way of a message:
//
//	reactor (readable) -> Conn.read (into the loop's one buffer) -> ws.Reader (bytes to events, in place)
//	  -> Handler.Message -> Conn.Send -> outbox -> Engine.Flush (one write per connection and turn) -> socket
//
// # Who runs where
//
// One engine has one loop, and a connection belongs to it for life. Reading, the opening handshake, timeouts and the
// end of a connection happen on the loop's goroutine only. Output may be queued from any goroutine: Conn.mu guards the
// outbox, the state and the mailbox, and is never held while user code runs.
//
// Callbacks of one connection never overlap. With Route.Inline they run on the loop, must not block, and see the
// payload where the socket's bytes lie. Otherwise they run one after another on a goroutine that lives only while the
// connection has something to tell; a connection that is silent owns no goroutine, no buffer and no timer of its own.
//
// # Locks
//
// Engine.topicsMu before Conn.mu before the engine's small leaf locks (dirtyMu, idsMu, pacer.mu). No system call but a
// non-blocking write happens under a lock.
package engine

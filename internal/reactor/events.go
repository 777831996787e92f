package reactor

// Events is a set of events of a socket. Events are edge triggered: each is delivered once, when it begins, and the
// handler must continue until nothing is left (a short read, or ErrAgain).
type Events uint8

// The events.
const (
	// Readable means that bytes or the peer's end have arrived.
	Readable Events = 1 << iota
	// Writable means that the socket accepts bytes again.
	Writable
	// Hangup means that the peer has ended its side or that the connection broke. What arrived before is still there:
	// read until io.EOF or an error.
	Hangup
	// Handshaken means that the handshake of a Handshaker is over: the handler calls Loop.Secure.
	Handshaken
)

// readiness is an event for a handler.
type readiness struct {
	key Key
	ev  Events
}

// Handler handles the events of a loop. All methods are called on the loop's goroutine and must not block it.
type Handler interface {
	// Ready is called when the socket of k has become ready. Some of ev may no longer hold.
	Ready(k Key, ev Events)
	// Timeout is called once when the deadline of k has passed.
	Timeout(k Key)
	// Flush is called once per turn, after its events, posts and timeouts, and before the loop may sleep. It should
	// write what the turn has queued.
	Flush()
}

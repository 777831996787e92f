package reactor

// Events says what a socket is ready for. It is edge triggered: an event is told once, when it begins, and the handler
// goes on until the socket has nothing left (a short read, or ErrAgain).
type Events uint8

// The events.
const (
	// Readable says that bytes have arrived, or the peer's end.
	Readable Events = 1 << iota
	// Writable says that the socket takes bytes again.
	Writable
	// Hangup says that the peer has ended its side or the connection broke: read until io.EOF or an error, for what
	// arrived before is still there.
	Hangup
)

// readiness is an event on its way to a handler.
type readiness struct {
	key Key
	ev  Events
}

// Handler is what sits on a loop and knows what the bytes mean. All its methods are called on the loop's goroutine and
// must not block it.
type Handler interface {
	// Ready is called when the socket of k has become ready. Some of ev may have passed already.
	Ready(k Key, ev Events)
	// Timeout is called once when the deadline of k has passed.
	Timeout(k Key)
	// Flush is called once per turn, after its events, posts and timeouts and before the loop may sleep: the place to
	// write what the turn has queued.
	Flush()
}

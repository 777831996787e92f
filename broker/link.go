package broker

// Link carries messages to the other side, in order. Any goroutine.
type Link interface {
	// Send takes a message. It never waits, and does not keep m. An error says that the message was not taken: the
	// queue is full, or the other side is gone.
	Send(m []byte) error
}

// LinkFunc makes a Link of a function.
type LinkFunc func(m []byte) error

// Send calls f.
func (f LinkFunc) Send(m []byte) error { return f(m) }

var _ Link = (LinkFunc)(nil)

package broker

// Link carries messages to the other side, in order. Any goroutine.
type Link interface {
	// Send takes a message: one or more envelopes. It never waits and does not keep m. On the way to the Hub it may
	// write into m and be Port.Receive itself; on the way to a worker it must not change m, which goes to others, too,
	// nor deliver it before it returns. An error says that the message was not taken: the queue is full, or the other
	// side is gone.
	Send(m []byte) error
}

// LinkFunc makes a Link of a function.
type LinkFunc func(m []byte) error

// Send calls f.
func (f LinkFunc) Send(m []byte) error { return f(m) }

var _ Link = LinkFunc(nil)

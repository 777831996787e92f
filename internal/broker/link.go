package broker

// Link carries messages to the other side, in order. It must be safe for concurrent use.
type Link interface {
	// Send sends a message, which is one or more envelopes. It must not block, and must not keep m. On the way to the
	// Hub it may modify m and call Port.Receive directly. On the way to a worker it must not modify m, which is sent
	// to others, too, and must not deliver it before it returns. It returns an error if it has not taken the message,
	// because the queue is full or the other side has ended.
	Send(m []byte) error
}

// LinkFunc is a function that implements Link.
type LinkFunc func(m []byte) error

// Send calls f.
func (f LinkFunc) Send(m []byte) error { return f(m) }

var _ Link = LinkFunc(nil)

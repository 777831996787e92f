// Package backplane defines what carries messages between the machines of a service.
//
// A [Backplane] is publish and subscribe by topic. It knows nothing of connections. Expedite adds what it needs to
// drop duplicates and to notice gaps. One that also implements [History] keeps the latest messages of topics. Package
// backplane/redisplane is the one that Expedite comes with, and package backplane/backplanetest the conformance suite
// for others.
package backplane

import (
	"errors"
	"time"
)

// Limits of a message.
const (
	// MaxTopic is the longest topic in bytes. Topics may contain any bytes.
	MaxTopic = 320
	// MaxPayload is the longest payload in bytes.
	MaxPayload = 32<<20 + 1<<10
)

// Errors of Publish.
var (
	// ErrOverloaded means not now: the queue is full. The message was not taken.
	ErrOverloaded = errors.New("backplane: the queue is full")
	// ErrTooLarge means never: the topic, the payload or the machine exceeds a limit.
	ErrTooLarge = errors.New("backplane: message too large")
	// ErrClosed means never: Close was called, or Start was not.
	ErrClosed = errors.New("backplane: closed")
)

// Backplane carries messages between machines. One process of each machine uses it. Its methods are safe for
// concurrent use. None of them waits for another machine, or calls a method of the Receiver.
//
// Messages of one Backplane on one topic arrive in the order in which they were published. After the connection to a
// server was lost, some of them may arrive again, in the same order: 1, 2, 3, 2, 3, 4. A message that Publish has
// taken is kept until a server has taken it, so an outage delays messages, and loses those that nobody was listening
// for.
type Backplane interface {
	// Start begins to connect, and passes what arrives to r, until Close. It is called once, before all other methods.
	// A server that cannot be reached is no error: see Status.
	Start(r Receiver)
	// Publish queues a message for all machines that have subscribed to its topic, this one included. It returns
	// ErrOverloaded, ErrTooLarge or ErrClosed. The payload may be reused when it returns.
	Publish(topic string, payload []byte) error
	// Subscribe asks for the messages of topics. Receiver.Listening tells when they arrive. Topics that are subscribed
	// to already are ignored.
	Subscribe(topics ...string)
	// Unsubscribe ends Subscribe. Messages may arrive for a while.
	Unsubscribe(topics ...string)
	// Status returns the state of now.
	Status() Status
	// Close ends everything. No method of the Receiver is called after it has returned. Messages that wait are
	// dropped.
	Close() error
}

// Receiver is what a Backplane calls. Calls for one topic do not overlap. They may block, which delays what arrives
// later.
type Receiver interface {
	// Receive takes messages in the order in which they arrived: as many as there are, for one call costs less than
	// several. The slice, its topics and payloads are valid until Receive returns.
	Receive(list []Message)
	// Listening reports that no message of these topics is missed from here on.
	Listening(topics []string)
	// Missing reports that messages of these topics may be missed from some time before until Listening is called
	// again.
	Missing(topics []string, cause error)
}

// Message is a message that has arrived.
type Message struct {
	Topic   string
	Payload []byte
	At      Position // of a message that was appended to a history; otherwise zero
}

// Status is the state of a Backplane.
type Status struct {
	// Err is why messages do not pass at present; nil if they do.
	Err error
	// Queued is the number of bytes that wait to be sent, and Waiting how long the oldest of these messages has waited.
	Queued  int64
	Waiting time.Duration
	// Published and Received count messages, Refused those that Publish did not take, Dropped those that it took and
	// no server ever will, Repeated those that were sent again because it is not known whether a server has taken
	// them, and Interrupted the times that Missing was called.
	Published, Received, Refused, Dropped, Repeated, Interrupted uint64
	// Renewed counts epochs of histories that the Backplane has ended because a server had lost messages, Unverified
	// messages of which it would not notice that.
	Renewed, Unverified uint64
}

package brokertest

import (
	"testing"

	"github.com/expedite-go/expedite/broker"
)

// Cluster is a number of workers, joined by what is tested. Workers are numbered from 0.
type Cluster interface {
	// Worker is the sending side of a worker that is there. It stays the same until the worker leaves.
	Worker(i int) Worker
	// Conn is the id of the n-th connection that begins in a worker.
	Conn(i, n int) uint64
	// Overload makes the way to a worker refuse what comes, as a full queue does, until recover is called. What comes
	// from the worker still gets through.
	Overload(i int) (recover func())
	// Leave ends a worker. When it returns, the worker delivers nothing more.
	Leave(i int)
	// Join brings a new worker in the place of one that has left. When it returns, it misses nothing more.
	Join(i int)
}

// Worker is what a worker sends by. *broker.Local is one.
type Worker interface {
	Publish(topic string, opcode byte, payload []byte) error
	SendTo(conn uint64, opcode byte, payload []byte) error
	CloseConn(conn uint64, code uint16, reason string) error
}

var _ Worker = (*broker.Local)(nil)

// Deliver takes what comes to a worker, as a broker.Deliver does.
type Deliver func(worker int, e broker.Envelope) (found bool)

// Run tests clusters that start makes. start ends them when its test ends, and may skip a test.
func Run(t *testing.T, start func(t *testing.T, workers int, deliver Deliver) Cluster) {
	t.Helper()
	for _, c := range []struct {
		rule string
		test func(*bench)
	}{
		{"all workers deliver all publications in one order", testOneOrder},
		{"a publisher gets its own publications", testOwn},
		{"a publication arrives as it was sent", testContents},
		{"a payload may be used again", testReuse},
		{"limits are told to the publisher", testLimits},
		{"a publisher may publish while it delivers", testPublishWithin},
		{"a message to a connection goes to its worker alone", testAtHome},
		{"a message finds a connection that has moved", testMoved},
		{"messages to a connection stay in order", testDirectedOrder},
		{"a message to nobody ends", testNobody},
		{"a connection is closed with code and reason", testClose},
		{"an overloaded worker does not disturb others", testOverload},
		{"a worker may leave and another may come", testLeaveJoin},
		{"a message finds a connection whose first worker has left", testHomeless},
	} {
		t.Run(c.rule, func(t *testing.T) {
			const workers = 4
			b := &bench{T: t}
			for range workers {
				b.recorders = append(b.recorders, newRecorder())
			}
			b.Cluster = start(t, workers, func(i int, e broker.Envelope) bool { return b.recorders[i].deliver(e) })
			c.test(b)
		})
	}
}

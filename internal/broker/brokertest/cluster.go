package brokertest

import (
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// Cluster is a number of workers that are connected by the transport under test. Workers are numbered from 0.
type Cluster interface {
	// Worker returns the sending side of a worker. It stays the same until the worker leaves.
	Worker(i int) Worker
	// Conn returns the id of the n-th connection that begins in a worker.
	Conn(i, n int) uint64
	// Overload makes the link to a worker refuse messages, as a full queue does, until recover is called. Messages from
	// the worker are not affected.
	Overload(i int) (recover func())
	// Leave ends a worker. After it has returned, the worker delivers nothing more.
	Leave(i int)
	// Join starts a new worker in place of one that has left. After it has returned, the worker misses nothing.
	Join(i int)
	Handover
}

// Handover has the operations of a cluster that moves connections between workers: see the methods of broker.Port.
type Handover interface {
	// Succeed starts a second worker in the slot of worker i and returns its number. Numbers continue after those of
	// the first workers. After it has returned, the new worker misses nothing.
	Succeed(i int) (next int)
	// Hold makes the Hub hold messages to the connections of worker i's slot.
	Hold(i int)
	// Lead makes worker i the leader of its slot, which those messages go to.
	Lead(i int)
}

// Worker is the sending side of a worker. *broker.Local implements it.
type Worker interface {
	Publish(topic string, opcode byte, payload []byte) error
	SendTo(conn uint64, opcode byte, payload []byte) error
	CloseConn(conn uint64, code uint16, reason string) error
	Mover
}

// Mover has the methods of a worker for connections that move between workers: see broker.Local.
type Mover interface {
	Here(conn uint64) error
	Gone(conn uint64) error
	Fence(token uint64) error
	Position() uint64
}

var _ Worker = (*broker.Local)(nil)

// Deliver receives the messages for a worker, as a broker.Deliver does.
type Deliver func(worker int, e broker.Envelope) (found bool)

// Run tests clusters that start makes. start must end a cluster when its test ends, and may skip the test.
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
		{"an answer to a fence comes after all before it", testFence},
		{"a successor knows from where it hears", testPosition},
		{"a worker is replaced and nothing is missed", testReplace},
		{"a worker is replaced by none", testReplaceFails},
		{"a connection moves for good and nothing is missed", testMove},
	} {
		t.Run(c.rule, func(t *testing.T) {
			const workers = 4
			b := &bench{T: t}
			b.next = newRecorder()
			for range workers {
				b.recorders = append(b.recorders, newRecorder())
			}
			b.Cluster = start(t, workers, func(i int, e broker.Envelope) bool { return b.recorder(i).deliver(e) })
			c.test(b)
		})
	}
}

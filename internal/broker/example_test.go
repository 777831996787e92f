package broker_test

import (
	"fmt"

	"github.com/expedite-go/expedite/internal/broker"
)

// A single process: the link to the Hub is a call, and the link back is a queue that the event loop reads.
func ExampleNewHub() {
	const slot = 1
	hub := broker.NewHub(func(uint64) int { return slot })
	var port *broker.Port
	toHub := broker.LinkFunc(func(m []byte) error { port.Receive(m); return nil })
	local := broker.NewLocal(toHub, func(e broker.Envelope) bool {
		fmt.Printf("%d %s: %s\n", e.Seq, e.Topic, e.Payload)
		return true
	})
	var queue []byte
	port = hub.Attach(slot, broker.LinkFunc(func(m []byte) error {
		queue = append(queue, m...)
		return nil
	}))
	defer port.Detach()

	for _, text := range []string{"hello", "world"} {
		if err := local.Publish("lobby", 1, []byte(text)); err != nil {
			fmt.Println(err)
		}
	}
	local.Receive(queue)
	// Output:
	// 1 lobby: hello
	// 2 lobby: world
}

package broker_test

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// BenchmarkPublish measures a publication of 100 bytes in the Hub and in workers. The links make a copy.
func BenchmarkPublish(b *testing.B) {
	for _, workers := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			hub := broker.NewHub(firstSlot)
			var all []*worker
			for slot := range workers {
				w := newWorker(hub, slot)
				toHub := broker.LinkFunc(func(m []byte) error { w.port.Receive(m); return nil })
				w.local = broker.NewLocal(toHub, func(broker.Envelope) bool { return true })
				all = append(all, w)
			}
			payload := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				_ = all[0].local.Publish("lobby", 1, payload)
				for _, w := range all {
					w.local.Receive(w.down.held)
					w.down.held = w.down.held[:0]
				}
			}
		})
	}
}

// BenchmarkParallelPublish measures the cost of the Hub's lock when workers publish concurrently.
func BenchmarkParallelPublish(b *testing.B) {
	hub := broker.NewHub(firstSlot)
	var port *broker.Port
	for slot := range 2 {
		port = hub.Attach(slot, broker.LinkFunc(func([]byte) error { return nil }))
	}
	b.RunParallel(func(pb *testing.PB) {
		m := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "lobby", Payload: make([]byte, 100)})
		for pb.Next() {
			port.Receive(m)
		}
	})
}

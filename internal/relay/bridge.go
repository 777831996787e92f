package relay

import (
	"errors"
	"fmt"
	"sync"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/record"
)

// Bridge listens in a worker while the primary replaces its program, which ends its connections: it passes what it
// hears to the primary. The link between them outlives the program.
type Bridge struct {
	plane   backplane.Backplane
	forward func(bridged []byte) error

	mu      sync.Mutex
	started bool
	closed  bool
	waiting map[string]struct{} // topics that it does not listen to yet
	last    bool                // all topics are known
	ready   func(error)         // nil after it was called
}

// errBridge reports a second use of a Bridge.
var errBridge = errors.New("relay: the bridge was used before")

// NewBridge returns a Bridge that has not started. forward puts bytes for Relay.Bridged on the link; it must not block.
func NewBridge(plane backplane.Backplane, forward func(bridged []byte) error) *Bridge {
	return &Bridge{plane: plane, forward: forward, waiting: make(map[string]struct{})}
}

// Open listens to topics. With the last ones, ready is called when the bridge listens to all, perhaps from within.
func (b *Bridge) Open(topics []string, last bool, ready func(error)) {
	b.mu.Lock()
	if b.closed || b.last {
		b.mu.Unlock()
		ready(errBridge)
		return
	}
	first := !b.started
	b.started, b.last = true, last
	for _, topic := range topics {
		b.waiting[topic] = struct{}{}
	}
	if last {
		b.ready = ready
	}
	b.mu.Unlock()
	if first {
		b.plane.Start(b)
	}
	b.plane.Subscribe(topics...)
	if !last {
		ready(nil)
		return
	}
	b.Listening(nil) // perhaps there is nothing to wait for
}

// Close ends the bridge: everything that it has heard is on the link.
func (b *Bridge) Close() error {
	b.mu.Lock()
	open := b.started && !b.closed
	b.closed = true
	b.mu.Unlock()
	if !open {
		return nil
	}
	return b.plane.Close()
}

// Receive implements backplane.Receiver. What the link does not take is missed, and found out by its number.
func (b *Bridge) Receive(list []backplane.Message) {
	for _, m := range list {
		bridged := record.AppendText(nil, m.Topic)
		_ = b.forward(append(bridged, m.Payload...))
	}
}

// Listening implements backplane.Receiver.
func (b *Bridge) Listening(topics []string) {
	b.mu.Lock()
	for _, topic := range topics {
		delete(b.waiting, topic)
	}
	ready := b.ready
	if !b.last || len(b.waiting) > 0 {
		ready = nil
	} else {
		b.ready = nil
	}
	b.mu.Unlock()
	if ready != nil {
		ready(nil)
	}
}

// Missing implements backplane.Receiver. What is missed is found out by the numbers of later messages.
func (b *Bridge) Missing([]string, error) {}

// Bridged takes what a Bridge has forwarded.
func (r *Relay) Bridged(bridged []byte) error {
	d := record.NewDecoder(bridged)
	topic := string(d.Text())
	payload := d.Rest()
	if d.Err() != nil {
		return fmt.Errorf("%w: %w", errMessage, d.Err())
	}
	m := backplane.Message{Topic: topic, Payload: payload}
	r.gate.Lock()
	early := r.early != nil
	if early {
		r.early.add(&m)
	}
	r.gate.Unlock()
	if !early {
		r.take([]backplane.Message{m}, true)
	}
	return nil
}

var _ backplane.Receiver = (*Bridge)(nil)

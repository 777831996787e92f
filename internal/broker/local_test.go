package broker_test

import (
	"errors"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// TestOverloadedSays: the error tells a publisher that its message was not sent, and why.
func TestOverloadedSays(t *testing.T) {
	full := errors.New("queue full")
	up := &tray{err: full}
	local := broker.NewLocal(up, func(broker.Envelope) bool { return false })
	for _, err := range []error{
		local.Publish("t", 1, nil), local.SendTo(1, 1, nil), local.CloseConn(1, 1000, ""),
	} {
		if !errors.Is(err, broker.ErrOverloaded) || !errors.Is(err, full) {
			t.Errorf("got %v, want ErrOverloaded with %v", err, full)
		}
	}
	local.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 1})) // it cannot be bounced
	if got := local.Refused(); got != 4 {
		t.Errorf("got %d refused, want 4", got)
	}
}

// TestPublishAllocatesNothing: nothing is allocated from the publisher through the Hub to two workers.
func TestPublishAllocatesNothing(t *testing.T) {
	if raceEnabled() {
		t.Skip("with the race detector, pools drop values at random")
	}
	hub := broker.NewHub(firstSlot)
	n := 0
	var port *broker.Port
	toHub := broker.LinkFunc(func(m []byte) error { port.Receive(m); return nil })
	deliver := func(e broker.Envelope) bool { n += len(e.Topic); return true }
	local, other := broker.NewLocal(toHub, deliver), broker.NewLocal(toHub, deliver)
	// Delivered within Link.Send, which works only because this Deliver does not send.
	port = hub.Attach(1, broker.LinkFunc(func(m []byte) error { local.Receive(m); return nil }))
	hub.Attach(2, broker.LinkFunc(func(m []byte) error { other.Receive(m); return nil }))
	payload := make([]byte, 100)
	got := testing.AllocsPerRun(1000, func() {
		if err := local.Publish("lobby", 1, payload); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 || n == 0 {
		t.Errorf("got %v allocations and %d bytes of topics, want 0 and some", got, n)
	}
}

package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// TestCloseIsOwed: a close for a worker whose queue is full arrives as soon as there is room, before later messages
// to the connection. If the worker has ended, it goes to where the connection lives.
func TestCloseIsOwed(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(hub *broker.Hub, home *worker)
		want []string
	}{
		"there is room": {
			func(_ *broker.Hub, home *worker) { home.port.Flush(); home.port.Flush() },
			[]string{"0:bye 7", "0:bye 8"},
		},
		"a message follows": {
			func(hub *broker.Hub, _ *worker) { must(t, hub.SendTo(7, 1, []byte("late"))) },
			[]string{"0:bye 7", "0:bye 8", "0:late"},
		},
		"the worker ends":       {func(_ *broker.Hub, home *worker) { home.port.Detach() }, nil},
		"nobody asks once more": {func(*broker.Hub, *worker) {}, nil},
	} {
		hub := broker.NewHub(firstSlot)
		home, other := newWorker(hub, 1, 7, 8), newWorker(hub, 2, 7)
		home.read()
		home.down.err = errNoRoom
		must(t, hub.CloseConn(7, 1000, "bye 7"))
		must(t, hub.SendTo(7, 1, []byte("lost")))
		must(t, hub.CloseConn(8, 1000, "bye 8"))
		home.down.err = nil
		tt.then(hub, home)
		home.read()
		other.read()
		wantGot(t, name, home, tt.want...)
		if name == "the worker ends" {
			wantGot(t, name+": the other", other, "0:bye 7")
		} else {
			wantGot(t, name+": the other", other)
		}
		if got := hub.Stats(); got.Dropped[1] != 1 {
			t.Errorf("%s: %d dropped, want the message", name, got.Dropped[1])
		}
	}
}

// TestFlushOwesNothing: a worker that is owed nothing is sent nothing.
func TestFlushOwesNothing(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	sent := 0
	port := hub.Attach(1, broker.LinkFunc(func([]byte) error { sent++; return nil }))
	port.Flush()
	port.Detach()
	port.Flush()
	if sent != 1 {
		t.Errorf("got %d messages, want only the Position of Attach", sent)
	}
}

// TestOwedClosesAreBounded: closes beyond MaxOwed for a worker whose queue is full are dropped and counted.
func TestOwedClosesAreBounded(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 1, 7)
	w.read()
	w.down.err = errNoRoom
	reason := strings.Repeat("x", 100)
	size := len(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Close, Payload: []byte(reason)}))
	fit, more := broker.MaxOwed/size, 10
	for range fit + more {
		must(t, hub.CloseConn(7, 1000, reason))
	}
	w.down.err = nil
	w.port.Flush()
	w.read()
	got := hub.Stats()
	if len(w.got) != fit || got.Dropped[1] != uint64(more) || got.Delivered[1] != uint64(fit+1) {
		t.Errorf("got %d closes, %s; want %d and %d dropped", len(w.got), fmt.Sprint(got.Delivered, got.Dropped), fit, more)
	}
}

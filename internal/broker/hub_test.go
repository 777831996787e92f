package broker_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// worker is a Local whose links are trays: nothing moves until the test moves it.
type worker struct {
	slot     int
	local    *broker.Local
	up, down *tray
	port     *broker.Port
	conns    map[uint64]bool
	got      []string
}

func newWorker(hub *broker.Hub, slot int, conns ...uint64) *worker {
	w := &worker{slot: slot, up: newTray(), down: newTray(), conns: make(map[uint64]bool)}
	for _, c := range conns {
		w.conns[c] = true
	}
	w.local = broker.NewLocal(w.up, func(e broker.Envelope) bool {
		if e.Kind == broker.Publish || w.conns[e.Conn] {
			w.got = append(w.got, fmt.Sprintf("%d:%s", e.Seq, e.Payload))
			return true
		}
		return false
	})
	w.port = hub.Attach(slot, w.down)
	return w
}

// read delivers what the Hub has sent, and passes what the worker has sent to the Hub.
func (w *worker) read() {
	w.local.Receive(w.down.take())
	w.port.Receive(w.up.take())
}

// firstSlot is the route of these tests: all connections began in slot 1.
func firstSlot(uint64) int { return 1 }

func wantGot(t *testing.T, who string, w *worker, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(w.got, want) {
		t.Errorf("%s: got %q, want %q", who, w.got, want)
	}
}

// TestNextGeneration: a message reaches a connection that has moved to the next worker of its slot, even if the
// message was sent to the previous worker.
func TestNextGeneration(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	before, other := newWorker(hub, 1), newWorker(hub, 2)
	if err := other.local.SendTo(7, 1, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	other.read()
	after := newWorker(hub, 1, 7)
	before.read() // it bounces the message
	after.read()
	other.read()
	wantGot(t, "the next worker", after, "0:hello")
	wantGot(t, "the other worker", other)
	before.port.Detach()
	before.port.Detach() // does nothing
	if err := hub.SendTo(7, 1, []byte("again")); err != nil {
		t.Fatal(err)
	}
	after.read()
	if len(after.got) != 2 || len(before.down.take()) != 0 {
		t.Errorf("after the detach of the one before: got %q", after.got)
	}
}

// TestHubCounts: a Hub counts everything that it does.
func TestHubCounts(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(hub.SendTo(7, 1, nil)) // there is no worker: unroutable
	one, two, three := newWorker(hub, 1), newWorker(hub, 2), newWorker(hub, 3, 7)
	turn := func() {
		for _, w := range []*worker{one, two, three, one, two, three} {
			w.read()
		}
	}
	must(one.local.Publish("t", 1, []byte("a")))
	turn()
	two.down.err = errors.New("full")
	must(hub.Publish("t", 1, []byte("b")))
	must(one.local.SendTo(7, 1, []byte("c"))) // bounced by one, flooded: two misses it
	turn()
	one.port.Detach()
	must(hub.CloseConn(7, 1000, "d")) // flooded: owed to two
	three.port.Receive([]byte("garbage"))
	three.port.Receive(damaged(broker.Send, 6, 2))                                         // only the Hub floods
	three.port.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Position})) // only the Hub sends it
	turn()
	want := broker.HubStats{
		Published: 2, Directed: 3, Bounced: 1, Flooded: 3, Unroutable: 1,
		Malformed: map[int]uint64{1: 0, 2: 0, 3: 3},
		Delivered: map[int]uint64{1: 4, 2: 2, 3: 5}, // a Position each
		Dropped:   map[int]uint64{1: 0, 2: 2, 3: 0},
	}
	if got := hub.Stats(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	wantGot(t, "worker 1", one, "1:a", "2:b")
	wantGot(t, "worker 2", two, "1:a")
	wantGot(t, "worker 3", three, "1:a", "2:b", "0:c", "0:d")
}

// TestAnySlotOrder: workers are found whatever the order in which they attach and detach.
func TestAnySlotOrder(t *testing.T) {
	hub := broker.NewHub(func(conn uint64) int { return int(conn) })
	var workers []*worker
	for _, slot := range []int{5, 1, 9, 3, 7} {
		workers = append(workers, newWorker(hub, slot, uint64(slot)))
	}
	workers[1].port.Detach()
	workers[1] = newWorker(hub, 1, 1)
	for _, w := range workers {
		if err := hub.SendTo(uint64(w.slot), 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		w.read()
		wantGot(t, fmt.Sprint("slot ", w.slot), w, "0:x")
	}
	if got := hub.Stats().Flooded; got != 0 {
		t.Errorf("got %d flooded, want 0", got)
	}
	for _, w := range workers {
		w.port.Detach()
		w.down.take()
	}
	if err := hub.Publish("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		if got := len(w.down.take()); got != 0 {
			t.Errorf("slot %d: got %d bytes after its detach", w.slot, got)
		}
	}
}

// TestFloodIsNotAnswered: a worker does not bounce a message that was sent to all.
func TestFloodIsNotAnswered(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 2)
	if err := hub.SendTo(7, 1, nil); err != nil { // slot 1 has no worker
		t.Fatal(err)
	}
	w.local.Receive(w.down.take())
	if got := len(w.up.take()); got != 0 {
		t.Errorf("got an answer of %d bytes", got)
	}
	if got := hub.Stats(); got.Flooded != 1 || got.Unroutable != 0 {
		t.Errorf("got %+v", got)
	}
}

// TestSoleWorkerSaysNo: a message that the only worker has bounced is dropped.
func TestSoleWorkerSaysNo(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 1)
	if err := w.local.SendTo(7, 1, nil); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.read()
	}
	got := hub.Stats()
	if got.Directed != 1 || got.Bounced != 1 || got.Unroutable != 1 || got.Delivered[1] != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestHubRefuses: messages of the primary have the same limits as those of workers.
func TestHubRefuses(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	long := make([]byte, broker.MaxPayload+1)
	for _, c := range []struct {
		what      string
		got, want error
	}{
		{"no topic", hub.Publish("", 1, nil), broker.ErrTopic},
		{"a long payload", hub.Publish("t", 1, long), broker.ErrPayload},
		{"a long message", hub.SendTo(1, 1, long), broker.ErrPayload},
		{"a long reason", hub.CloseConn(1, 1000, string(long)), broker.ErrPayload},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
	if got := hub.Stats(); got.Published+got.Directed != 0 {
		t.Errorf("got %+v, want nothing passed on", got)
	}
}

// TestSeveralInOne: the envelopes of one message are passed on one by one; an invalid one among them is skipped.
func TestSeveralInOne(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w, sender := newWorker(hub, 1, 7), newWorker(hub, 2)
	m := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "t", Seq: 99, Payload: []byte("a")})
	m = append(m, damaged(broker.Publish, 4, 99)...) // a kind that a later version may have
	m = broker.AppendEnvelope(m, broker.Envelope{Kind: broker.Send, Conn: 7, Payload: []byte("b")})
	m = broker.AppendEnvelope(m, broker.Envelope{Kind: broker.Publish, Topic: "t", Payload: []byte("c")})
	sender.port.Receive(m)
	w.local.Receive(append(damaged(broker.Publish, 4, 99), w.down.take()...))
	if len(w.got) != 3 || w.got[0] != "1:a" || w.got[2] != "2:c" {
		t.Errorf("got %q", w.got)
	}
	if got := hub.Stats().Malformed[2]; got != 1 {
		t.Errorf("hub: got %d malformed, want 1", got)
	}
	if got := w.local.Malformed(); got != 1 {
		t.Errorf("worker: got %d malformed, want 1", got)
	}
}

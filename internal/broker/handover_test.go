package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// bySlot is a route: the ids of the connections of slot n begin at 100 n.
func bySlot(conn uint64) int { return int(conn / 100) }

// say sends texts to a connection from the primary.
func say(t *testing.T, hub *broker.Hub, conn uint64, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := hub.SendTo(conn, 1, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReplacement: messages go to the old worker, are held, and then go to its successor. Publications go to both.
func TestReplacement(t *testing.T) {
	hub := broker.NewHub(bySlot)
	before := newWorker(hub, 1, 107)
	must(t, hub.Publish("t", 1, []byte("a")))
	say(t, hub, 107, "b")
	after := newWorker(hub, 1, 107)
	say(t, hub, 107, "c")
	must(t, hub.Publish("t", 1, []byte("d")))
	before.port.Hold()
	say(t, hub, 107, "e")
	must(t, hub.CloseConn(107, 1000, "f"))
	must(t, hub.Publish("t", 1, []byte("g")))
	before.read()
	after.read()
	wantGot(t, "before", before, "1:a", "0:b", "0:c", "2:d", "3:g")
	wantGot(t, "after", after, "2:d", "3:g")
	after.port.Lead()
	say(t, hub, 107, "h")
	before.read()
	after.read()
	wantGot(t, "before", before, "1:a", "0:b", "0:c", "2:d", "3:g")
	wantGot(t, "after", after, "2:d", "3:g", "0:e", "0:f", "0:h")
	before.port.Detach()
	before.port.Hold() // has no effect after Detach
	before.port.Lead()
	say(t, hub, 107, "i")
	after.read()
	if got := after.got[len(after.got)-1]; got != "0:i" {
		t.Errorf("got %q, want 0:i", got)
	}
	if got := after.local.Position(); got != 3 {
		t.Errorf("got position %d, want 3", got)
	}
}

// TestDetachWhileHeld: messages that are held are not lost with a port.
func TestDetachWhileHeld(t *testing.T) {
	for _, c := range []struct {
		what   string
		detach func(old, middle, newest *worker)
		want   map[string][]string
	}{
		{"the leader: the newest leads", func(old, _, _ *worker) { old.port.Detach() }, map[string][]string{
			"newest": {"0:a", "0:b"},
		}},
		{"another: it stays held", func(_, middle, _ *worker) { middle.port.Detach() }, nil},
		{"the leader released it", func(old, _, _ *worker) { old.port.Lead() }, map[string][]string{
			"old": {"0:a", "0:b"},
		}},
		{"all: others are asked", func(old, middle, newest *worker) {
			middle.port.Detach()
			newest.port.Detach()
			old.port.Detach()
		}, map[string][]string{"other": {"0:a", "0:b"}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			hub := broker.NewHub(bySlot)
			workers := map[string]*worker{}
			for _, name := range []string{"old", "middle", "newest", "other"} {
				slot := 1
				if name == "other" {
					slot = 2
				}
				workers[name] = newWorker(hub, slot, 107)
			}
			workers["old"].port.Hold()
			say(t, hub, 107, "a", "b")
			c.detach(workers["old"], workers["middle"], workers["newest"])
			for name, w := range workers {
				w.read()
				wantGot(t, name, w, c.want[name]...)
			}
		})
	}
}

// TestHeldFull: a slot holds messages up to its limit, in order. Others are dropped and counted.
func TestHeldFull(t *testing.T) {
	hub := broker.NewHub(bySlot)
	w := newWorker(hub, 1, 107)
	w.port.Hold()
	big := string(make([]byte, broker.MaxHeld/2))
	say(t, hub, 107, "first", big, big, "last")
	w.port.Lead()
	w.read()
	if len(w.got) != 3 || w.got[0] != "0:first" || w.got[2] != "0:last" {
		t.Errorf("got %d messages, want the first, one of the big ones, and the last", len(w.got))
	}
	if got := hub.Stats(); got.HeldFull != 1 || got.Dropped[1] != 1 || got.Directed != 4 {
		t.Errorf("got %d not held, %d dropped, %d directed", got.HeldFull, got.Dropped[1], got.Directed)
	}
}

// TestMoveKeepsOrder: a message that arrives after the Hub knows the new slot of a connection does not overtake
// messages that are held in its old slot, even if the new slot holds as well.
func TestMoveKeepsOrder(t *testing.T) {
	hub := broker.NewHub(bySlot)
	one, two, three := newWorker(hub, 1, 108), newWorker(hub, 2, 107), newWorker(hub, 3)
	one.port.Hold()
	say(t, hub, 107, "a")
	say(t, hub, 108, "stays")
	must(t, two.local.Here(107))
	two.read()
	say(t, hub, 107, "b")
	two.port.Hold()
	say(t, hub, 107, "c")
	one.port.Lead()
	say(t, hub, 107, "d")
	two.read()
	wantGot(t, "two holds", two)
	two.port.Lead()
	say(t, hub, 107, "e")
	for _, w := range []*worker{one, two, three} {
		w.read()
	}
	wantGot(t, "one", one, "0:stays")
	wantGot(t, "two", two, "0:a", "0:b", "0:c", "0:d", "0:e")
	if got := hub.Stats(); got.Flooded+got.Bounced != 0 {
		t.Errorf("got %d flooded, %d bounced, want none", got.Flooded, got.Bounced)
	}
}

// TestWhereConnectionsLive: messages go first to the worker that last called Here, until it calls Gone or detaches.
func TestWhereConnectionsLive(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(w []*worker) // of slots 1, 2 and 3
		want int               // the slot that messages go to first
	}{
		{"no word", func([]*worker) {}, 1},
		{"here", func(w []*worker) { _ = w[1].local.Here(107) }, 2},
		{"the latest counts", func(w []*worker) { _ = w[1].local.Here(107); w[1].read(); _ = w[2].local.Here(107) }, 3},
		{"gone", func(w []*worker) { _ = w[1].local.Here(107); _ = w[1].local.Gone(107) }, 1},
		{"gone, but it was elsewhere", func(w []*worker) {
			_ = w[1].local.Here(107)
			_ = w[2].local.Gone(107)
		}, 2},
		{"home again", func(w []*worker) { _ = w[1].local.Here(107); w[1].read(); _ = w[0].local.Here(107) }, 1},
		{"the worker is gone", func(w []*worker) { _ = w[1].local.Here(107); w[1].read(); w[1].port.Detach() }, 1},
		{"the worker was gone before", func(w []*worker) { _ = w[1].local.Here(107); w[1].port.Detach() }, 1},
	} {
		hub := broker.NewHub(bySlot)
		all := []*worker{newWorker(hub, 1, 107), newWorker(hub, 2, 107), newWorker(hub, 3, 107)}
		c.do(all)
		for _, w := range all {
			w.read()
		}
		say(t, hub, 107, "x")
		for k, w := range all {
			w.read()
			if got := len(w.got) == 1; got != (k+1 == c.want) {
				t.Errorf("%s: slot %d: got %q, want it in slot %d", c.rule, k+1, w.got, c.want)
			}
		}
	}
}

// TestAwayFull: connections that the Hub cannot record are counted, and messages reach them all the same.
func TestAwayFull(t *testing.T) {
	hub := broker.NewHub(func(uint64) int { return 1 })
	one, two := newWorker(hub, 1), newWorker(hub, 2, broker.MaxAway+1)
	for conn := range uint64(broker.MaxAway + 2) {
		must(t, two.local.Here(conn))
	}
	must(t, two.local.Here(0)) // recorded before: needs no room
	two.read()
	must(t, broker.NewHub(firstSlot).LoadState(hub.AppendState(nil)))
	if got := hub.Stats().AwayFull; got != 2 {
		t.Errorf("got %d not noted, want 2", got)
	}
	say(t, hub, broker.MaxAway+1, "found")
	one.read()
	two.read()
	wantGot(t, "its worker", two, "0:found")
	must(t, two.local.Gone(0))
	must(t, two.local.Here(broker.MaxAway+1))
	two.read()
	if got := hub.Stats(); got.AwayFull != 2 || got.Bounced != 1 {
		t.Errorf("got %d not noted, %d bounced, want 2, 1", got.AwayFull, got.Bounced)
	}
}

// TestFence: the answer goes to the worker that asked, after everything that the Hub had for it, with the last number.
func TestFence(t *testing.T) {
	hub := broker.NewHub(bySlot)
	up, down := newTray(), newTray()
	port := hub.Attach(1, down)
	var got []string
	var local *broker.Local
	local = broker.NewLocal(up, func(e broker.Envelope) bool {
		got = append(got, fmt.Sprintf("%d:%d:%d at %d", e.Kind, e.Conn, e.Seq, local.Position()))
		return false
	})
	other := newWorker(hub, 1)
	must(t, local.Publish("t", 1, nil))
	must(t, local.Fence(77))
	port.Receive(up.take())
	must(t, hub.Publish("t", 1, nil))
	local.Receive(down.take())
	want := "[1:0:1 at 0 7:77:1 at 1 1:0:2 at 1]"
	if fmt.Sprint(got) != want || local.Position() != 2 {
		t.Errorf("got %v, position %d, want %s, 2", got, local.Position(), want)
	}
	other.read()
	wantGot(t, "the other worker of the slot", other, "1:", "2:")
	port.Detach()
	must(t, local.Fence(78))
	port.Receive(up.take())
	if n := len(down.take()) + len(up.take()); n != 0 {
		t.Errorf("got %d bytes after the end", n)
	}
}

// TestPosition: the position never decreases.
func TestPosition(t *testing.T) {
	local := broker.NewLocal(newTray(), func(broker.Envelope) bool { return true })
	for _, c := range []struct {
		e    broker.Envelope
		want uint64
	}{
		{broker.Envelope{Kind: broker.Position, Seq: 5}, 5},
		{broker.Envelope{Kind: broker.Publish, Topic: "t", Seq: 6}, 6},
		{broker.Envelope{Kind: broker.Fence, Seq: 4}, 6},
		{broker.Envelope{Kind: broker.Send, Seq: 99}, 6},
		{broker.Envelope{Kind: broker.Here, Seq: 99}, 6},
		{broker.Envelope{Kind: broker.Position, Seq: 3}, 6},
		{broker.Envelope{Kind: broker.Fence, Seq: 9}, 9},
	} {
		local.Receive(broker.AppendEnvelope(nil, c.e))
		if got := local.Position(); got != c.want {
			t.Errorf("kind %d with number %d: got %d, want %d", c.e.Kind, c.e.Seq, got, c.want)
		}
	}
	if got := local.Malformed(); got != 1 {
		t.Errorf("got %d malformed, want the Here", got)
	}
}

// TestSent: all messages that may reach the Hub are counted, and nothing else.
func TestSent(t *testing.T) {
	up := newTray()
	local := broker.NewLocal(up, func(broker.Envelope) bool { return false })
	must(t, local.Publish("t", 1, nil))
	must(t, local.SendTo(1, 1, nil))
	must(t, local.CloseConn(1, 1000, ""))
	must(t, local.Fence(1))
	must(t, local.Here(1))
	must(t, local.Gone(1))
	local.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 1}))
	local.Redirect(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 1}))
	if err := local.Publish("", 1, nil); err == nil {
		t.Error("got no error")
	}
	if got := local.Sent(); got != 5 {
		t.Errorf("got %d, want 5", got)
	}
	up.err = errors.New("full")
	for _, err := range []error{local.Here(1), local.Gone(1), local.Fence(1)} {
		if !errors.Is(err, broker.ErrOverloaded) {
			t.Errorf("got %v, want ErrOverloaded", err)
		}
	}
	if sent, refused := local.Sent(), local.Refused(); sent != 5 || refused != 3 {
		t.Errorf("got %d sent, %d refused, want 5, 3", sent, refused)
	}
}

// TestRedirect: messages that a worker passes to its successor arrive as if they came from the Hub.
func TestRedirect(t *testing.T) {
	hub := broker.NewHub(bySlot)
	before := newWorker(hub, 1)
	var passed []byte
	local := broker.NewLocal(newTray(), func(e broker.Envelope) bool {
		passed = broker.AppendEnvelope(passed, e)
		return true
	})
	say(t, hub, 107, "here")
	say(t, hub, 108, "not here")
	say(t, hub, 307, "flooded") // there is no slot 3
	say(t, hub, 308, "flooded, not here")
	local.Receive(before.down.take())
	after := newWorker(hub, 1, 107, 307)
	position := after.local.Position()
	after.local.Redirect(passed)
	wantGot(t, "the successor", after, "0:here", "0:flooded")
	back := after.up.take()
	e, n, err := broker.ParseEnvelope(back)
	if err != nil || n != len(back) || e.Conn != 108 {
		t.Errorf("got back %+v of %d bytes, %v, want the one for 108", e, len(back), err)
	}
	for _, kind := range []broker.Kind{broker.Publish, broker.Position, broker.Here, broker.Gone, broker.Fence} {
		e := broker.Envelope{Kind: kind, Seq: 99}
		if kind == broker.Publish {
			e.Topic = "t"
		}
		after.local.Redirect(broker.AppendEnvelope(nil, e))
	}
	after.local.Redirect(bytes.Repeat([]byte{0}, 100))
	if got := after.local.Malformed(); got != 6 {
		t.Errorf("got %d malformed, want 6", got)
	}
	wantGot(t, "the successor", after, "0:here", "0:flooded")
	if got := after.local.Position(); got != position {
		t.Errorf("got position %d, want %d", got, position)
	}
}

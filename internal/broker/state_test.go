package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// busy returns a Hub with all kinds of state.
func busy(t testing.TB) *broker.Hub {
	hub := broker.NewHub(bySlot)
	one, two, four := newWorker(hub, 1), newWorker(hub, 2, 207), newWorker(hub, -4)
	for _, err := range []error{
		hub.Publish("t", 1, nil), two.local.Here(107), four.local.Here(9), one.local.SendTo(207, 1, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	one.port.Receive([]byte("garbage"))
	two.read()
	four.read()
	one.port.Hold()
	two.port.Hold()
	for _, conn := range []uint64{107, 108, 107} {
		if err := hub.SendTo(conn, 1, []byte("held")); err != nil {
			t.Fatal(err)
		}
	}
	return hub
}

// TestState: a Hub continues with the state of another.
func TestState(t *testing.T) {
	before, after := busy(t), broker.NewHub(bySlot)
	state := before.AppendState([]byte("x"))[1:]
	must(t, after.LoadState(state))
	if got, want := after.Stats(), before.Stats(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := after.AppendState(nil); !bytes.Equal(got, state) {
		t.Errorf("got  %x\nwant %x", got, state)
	}
	clear(state) // the Hub must not alias it
	one, two, next := newWorker(after, 1, 108), newWorker(after, 2, 107), newWorker(after, 1, 108)
	say(t, after, 107, "new")
	say(t, after, 108, "new")
	one.port.Lead()
	two.read()
	wantGot(t, "two, before it leads", two)
	two.port.Lead()
	must(t, after.Publish("t", 1, nil))
	for _, w := range []*worker{one, two, next} {
		w.read()
	}
	wantGot(t, "one", one, "0:held", "0:new", "2:")
	wantGot(t, "two", two, "0:held", "0:held", "0:new", "2:")
	wantGot(t, "next", next, "2:")
	if err := after.LoadState(before.AppendState(nil)); !errors.Is(err, broker.ErrState) {
		t.Errorf("with workers: got %v, want ErrState", err)
	}
}

// TestStateHoldsOnlyWhatWasHeld: a slot that held nothing passes messages on as soon as it has a worker.
func TestStateHoldsOnlyWhatWasHeld(t *testing.T) {
	before, after := broker.NewHub(bySlot), broker.NewHub(bySlot)
	newWorker(before, 1)
	must(t, after.LoadState(before.AppendState(nil)))
	w := newWorker(after, 1, 107)
	say(t, after, 107, "x")
	w.read()
	wantGot(t, "the worker", w, "0:x")
}

// TestStateMarks: a message that is bounced after the Hub was replaced is sent to all workers, because no port of the
// new Hub has bounced it.
func TestStateMarks(t *testing.T) {
	before, after := broker.NewHub(bySlot), broker.NewHub(bySlot)
	w := newWorker(before, 1)
	say(t, before, 107, "x")
	w.local.Receive(w.down.take())
	must(t, after.LoadState(before.AppendState(nil)))
	found, old := newWorker(after, 2, 107), after.Attach(1, newTray())
	old.Receive(w.up.take())
	found.read()
	wantGot(t, "found", found, "0:x")
}

// TestLoadStateRefuses: an invalid state is refused, and the Hub does not change.
func TestLoadStateRefuses(t *testing.T) {
	good := busy(t).AppendState(nil)
	const totals, slot = 4 + 8*8, 5 * 8 // bytes before the count of slots, and of a slot that holds nothing
	with := func(at int, n uint64) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint64(b[at:], n)
		return b
	}
	type row struct {
		rule string
		b    []byte
	}
	rows := []row{
		{"another version", append([]byte{2}, good[1:]...)},
		{"more behind it", append(bytes.Clone(good), 0)},
		{"endless slots", with(totals, 1<<64-1)},
		{"slots that do not ascend", with(totals+8, 1)},
		{"an endless length", with(totals+8+slot+4*8, 1<<64-1)},
		{"a held envelope that is none", with(totals+8+2*slot, 0)},
		{"connections that do not ascend", with(len(good)-32, 1000)},
		{"a connection twice", with(len(good)-16, 9)},
		{"a slot that never was", with(len(good)-8, 77)},
		{"too many connections away", with(len(good)-40, broker.MaxAway+1)},
	}
	for n := range good {
		rows = append(rows, row{"cut off", good[:n]})
	}
	hub := busy(t)
	hub2 := broker.NewHub(bySlot)
	must(t, hub2.LoadState(hub.AppendState(nil)))
	want := hub2.AppendState(nil)
	for _, c := range rows {
		if err := hub2.LoadState(c.b); !errors.Is(err, broker.ErrState) {
			t.Errorf("%s, %d bytes: got %v, want ErrState", c.rule, len(c.b), err)
		}
	}
	if got := hub2.AppendState(nil); !bytes.Equal(got, want) {
		t.Error("a state that was refused has changed the Hub")
	}
}

// TestStateRefusesHeld: messages that a Hub would not hold are refused.
func TestStateRefusesHeld(t *testing.T) {
	state := func(held ...[]byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, 1)
		b = append(b, make([]byte, 8*8)...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(held)))
		for k, m := range held {
			b = binary.LittleEndian.AppendUint64(b, uint64(k))
			b = append(b, make([]byte, 3*8)...)
			b = binary.LittleEndian.AppendUint64(b, uint64(len(m)))
			b = append(b, m...)
		}
		return binary.LittleEndian.AppendUint64(b, 0)
	}
	send := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 7})
	most := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Payload: make([]byte, broker.MaxHeld-len(send))})
	big := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Payload: make([]byte, broker.MaxHeld-len(send)+1)})
	for _, c := range []struct {
		rule string
		b    []byte
		ok   bool
	}{
		{"a message", state(send), true},
		{"several", state(nil, append(bytes.Clone(send), send...)), true},
		{"a publication", state(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "t"})), false},
		{"a fence", state(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Fence})), false},
		{"a message that came back", state(damaged(broker.Send, 6, 1)), false},
		{"a flooded message", state(damaged(broker.Send, 6, 2)), false},
		{"one connection in two slots", state(send, send), false},
		{"as much as a slot holds", state(most), true},
		{"one byte more", state(big), false},
	} {
		err := broker.NewHub(bySlot).LoadState(c.b)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, broker.ErrState) {
			t.Errorf("%s: got %v, want it taken: %t", c.rule, err, c.ok)
		}
	}
}

// FuzzLoadState: loading never panics; a state that is accepted has only one encoding, and the Hub works with it; one
// that is refused changes nothing.
func FuzzLoadState(f *testing.F) {
	f.Add(broker.NewHub(bySlot).AppendState(nil))
	f.Add(busy(f).AppendState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		hub := broker.NewHub(bySlot)
		if err := hub.LoadState(b); err != nil {
			if !errors.Is(err, broker.ErrState) {
				t.Fatalf("got %v, want ErrState", err)
			}
			if !bytes.Equal(hub.AppendState(nil), broker.NewHub(bySlot).AppendState(nil)) {
				t.Fatal("a state that was refused has changed the Hub")
			}
			return
		}
		if got := hub.AppendState(nil); !bytes.Equal(got, b) {
			t.Fatalf("got  %x\nwant %x", got, b)
		}
		for slot := range 3 {
			w := newWorker(hub, slot)
			w.port.Lead()
			w.read()
			w.port.Detach()
		}
	})
}

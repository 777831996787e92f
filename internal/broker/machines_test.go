package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// machines records what a Hub tells the other machines.
type machines struct {
	elsewhere map[uint64]bool // connections of other machines
	got       []string
}

func (m *machines) Publish(topic []byte, opcode byte, payload []byte, except uint64) {
	said := fmt.Sprintf("%s %d %s", topic, opcode, payload)
	if except != 0 {
		said += fmt.Sprintf(" except %d", except)
	}
	m.got = append(m.got, said)
}

func (m *machines) Direct(conn uint64, envelope []byte) bool {
	if m.elsewhere[conn] {
		e, n, err := broker.ParseEnvelope(envelope)
		m.got = append(m.got, fmt.Sprintf("to %d: %s %v", e.Conn, e.Payload, err == nil && n == len(envelope)))
	}
	return m.elsewhere[conn]
}

func (m *machines) Want(topic string, wanted bool) {
	m.got = append(m.got, fmt.Sprintf("%s %v", topic, wanted))
}

func (m *machines) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if !slices.Equal(m.got, want) {
		t.Errorf("%s: got %q, want %q", what, m.got, want)
	}
	m.got = nil
}

// joined returns a Hub with other machines, which have connection 7.
func joined() (*broker.Hub, *machines) {
	hub, others := broker.NewHub(firstSlot), &machines{elsewhere: map[uint64]bool{7: true}}
	hub.Join(others)
	return hub, others
}

// TestMachinesHear: other machines get what is published here, and only that.
func TestMachinesHear(t *testing.T) {
	hub, others := joined()
	w := newWorker(hub, 1)
	must(t, w.local.Publish("t", 1, []byte("a")))
	w.read()
	hub.Heard("t", 2, []byte("b"), 0)
	must(t, hub.Publish("t", 2, []byte("c")))
	w.read()
	wantGot(t, "the worker", w, "1:a", "2:b", "3:c")
	others.want(t, "publications", "t 1 a", "t 2 c")
}

// TestMachinesHearOfExceptions: a connection that does not get a publication is named to workers and other machines.
func TestMachinesHearOfExceptions(t *testing.T) {
	hub, others := joined()
	var got []broker.Envelope
	local := broker.NewLocal(nil, func(e broker.Envelope) bool { got = append(got, e); return true })
	hub.Attach(1, broker.LinkFunc(func(m []byte) error { local.Receive(m); return nil }))
	w := newWorker(hub, 2)
	must(t, w.local.PublishExcept("t", 1, []byte("a"), 8))
	w.read()
	must(t, hub.PublishExcept("t", 1, []byte("b"), 9))
	hub.Heard("t", 1, []byte("c"), 10)
	got = slices.DeleteFunc(got, func(e broker.Envelope) bool { return e.Kind != broker.Publish })
	if len(got) != 3 {
		t.Fatalf("got %d publications, want 3", len(got))
	}
	for i, e := range got {
		if want := uint64(8 + i); e.Conn != want {
			t.Errorf("publication %d: got the exception %d, want %d", i+1, e.Conn, want)
		}
	}
	others.want(t, "publications", "t 1 a except 8", "t 1 b except 9")
}

// TestMachinesHaveConnections: a message goes to the machine of its connection.
func TestMachinesHaveConnections(t *testing.T) {
	hub, others := joined()
	w := newWorker(hub, 1, 7, 8)
	say(t, hub, 7, "there")
	say(t, hub, 8, "here")
	w.read()
	wantGot(t, "the worker", w, "0:here")
	others.want(t, "messages", "to 7: there true")
	if got := hub.Stats().Directed; got != 2 {
		t.Errorf("got %d directed, want both", got)
	}
}

// TestArrived: another machine sends messages for connections, and nothing else.
func TestArrived(t *testing.T) {
	hub, others := joined()
	w := newWorker(hub, 1, 7, 8)
	send := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 7, Payload: []byte("a")})
	bye := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Close, Conn: 8, Payload: []byte("b")})
	flood := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 9})
	flood[6] = 2 // a worker does not bounce what was sent to all
	for _, b := range [][]byte{send, bye, flood} {
		if err := hub.Arrived(slices.Clone(b)); err != nil {
			t.Errorf("%x: got %v", b, err)
		}
	}
	w.local.Receive(w.down.take())
	if back := w.up.take(); len(back) != len(flood) {
		t.Errorf("got back %x, want the message for a connection that is not here", back)
	}
	wantGot(t, "the worker", w, "0:a", "0:b")
	others.want(t, "what has arrived is not passed on")
	for what, b := range map[string][]byte{
		"nothing": nil, "a cut envelope": send[:len(send)-1], "two": append(slices.Clone(send), bye...),
		"a publication": broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "t"}),
		"a fence":       broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Fence}),
	} {
		if err := hub.Arrived(b); !errors.Is(err, broker.ErrEnvelope) {
			t.Errorf("%s: got %v, want ErrEnvelope", what, err)
		}
	}
	if got := hub.Stats().Directed; got != 3 {
		t.Errorf("got %d directed, want 3", got)
	}
}

// TestLost: every worker is told what was lost between machines, in the order of publications.
func TestLost(t *testing.T) {
	hub, others := joined()
	down := newTray()
	hub.Attach(1, down)
	hub.Heard("t", 1, nil, 0)
	hub.Lost("t", 5)
	hub.Lost("", 0)
	var got []string
	local := broker.NewLocal(newTray(), func(e broker.Envelope) bool {
		got = append(got, fmt.Sprintf("%d %q %d: %d, code %d", e.Kind, e.Topic, e.Seq, e.Conn, e.Code))
		return true
	})
	local.Receive(down.take())
	want := []string{
		fmt.Sprintf("%d %q 0: 0, code 0", broker.Ask, ""),
		fmt.Sprintf("%d %q 1: 0, code 0", broker.Publish, "t"),
		fmt.Sprintf("%d %q 2: 5, code %d", broker.Gap, "t", broker.Abroad),
		fmt.Sprintf("%d %q 3: 0, code %d", broker.Gap, "", broker.Abroad),
	}
	if !slices.Equal(got, want) || local.Position() != 3 || local.Malformed() != 0 {
		t.Errorf("got %q, position %d, %d malformed\nwant %q", got, local.Position(), local.Malformed(), want)
	}
	others.want(t, "other machines")
}

// TestMachinesAreTold: other machines are told of a topic when its first worker here wants it, and when its last one no
// longer does.
func TestMachinesAreTold(t *testing.T) {
	hub, others := joined()
	one, two := newWorker(hub, 1), newWorker(hub, 2)
	say := func(w *worker, kind broker.Kind, topics ...string) {
		for _, topic := range topics {
			w.port.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: kind, Topic: topic}))
		}
	}
	say(one, broker.Want, "a", "a")
	say(two, broker.Want, "a", "b")
	others.want(t, "wanted", "a true", "b true")
	say(one, broker.Unwant, "a", "b", "none")
	others.want(t, "wanted by the other worker")
	say(two, broker.Unwant, "a", "a")
	others.want(t, "no longer wanted", "a false")
	say(one, broker.Want, "b", "c")
	others.want(t, "another", "c true")
	one.port.Detach()
	others.want(t, "a worker has ended", "c false")
	say(one, broker.Want, "d")
	one.port.Detach()
	two.port.Detach()
	others.want(t, "all have ended", "b false")
	if got := hub.Stats().Malformed; got[1]+got[2] != 0 {
		t.Errorf("got %v malformed", got)
	}
}

// TestNoMachines: without other machines, workers are asked nothing, and what they want does not matter.
func TestNoMachines(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	down := newTray()
	port := hub.Attach(1, down)
	if e, n, err := broker.ParseEnvelope(down.held); err != nil || n != len(down.held) || e.Kind != broker.Position {
		t.Errorf("got %+v, %d of %d bytes, %v, want a Position and nothing else", e, n, len(down.held), err)
	}
	port.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Want, Topic: "t"}))
	port.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Unwant, Topic: "t"}))
	port.Detach()
	if got := hub.Stats().Malformed[1]; got != 0 {
		t.Errorf("got %d malformed, want none", got)
	}
}

// TestHeardAllocatesNothing: a publication of another machine is encoded into a buffer that is used again.
func TestHeardAllocatesNothing(t *testing.T) {
	hub, _ := joined()
	hub.Attach(1, broker.LinkFunc(func([]byte) error { return nil }))
	payload := make([]byte, 100)
	if n := testing.AllocsPerRun(1000, func() { hub.Heard("lobby", 1, payload, 0) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/broker"
)

// publisher returns a stream of publications of worker i.
func (b *bench) publisher(i, number, n int) stream {
	w := b.Worker(i)
	return stream{name: fmt.Sprintf("worker%d.%d", i, number), n: n, send: func(p []byte) error {
		return w.Publish("news", 1, p)
	}}
}

// wantNumbered checks that the publications of a list are in the order of their numbers.
func (b *bench) wantNumbered(list []broker.Envelope) {
	b.Helper()
	for k, e := range list {
		if k > 0 && e.Seq <= list[k-1].Seq {
			b.Fatalf("got number %d after %d", e.Seq, list[k-1].Seq)
		}
	}
}

func same(a, b broker.Envelope) bool { return a.Seq == b.Seq && bytes.Equal(a.Payload, b.Payload) }

func testOneOrder(b *bench) {
	var streams []stream
	for i := range b.recorders {
		streams = append(streams, b.publisher(i, 1, 100), b.publisher(i, 2, 100))
	}
	b.run(streams...)
	b.settle(b.all())
	first := b.recorders[0].got()
	b.wantNumbered(first)
	for _, s := range streams {
		b.wantStream(first, s)
	}
	for i, r := range b.recorders {
		if !slices.EqualFunc(r.got(), first, same) {
			b.Errorf("worker %d: got another order than worker 0", i)
		}
	}
}

func testOwn(b *bench) {
	b.publish(2, "news", "mine")
	b.settle(b.all())
	for i, r := range b.recorders {
		if got := r.got(); len(got) != 1 || string(got[0].Payload) != "mine" {
			b.Errorf("worker %d: got %v, want what worker 2 published, once", i, got)
		}
	}
}

func testContents(b *bench) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
	sent := []broker.Envelope{
		{Topic: "a", Opcode: 1, Payload: []byte("text")},
		{Topic: "b", Opcode: 2, Payload: []byte{0, 0xff, 0}},
		{Topic: "empty", Opcode: 2},
		{Topic: "\x00\xff any bytes", Opcode: 255, Payload: []byte("x")},
		{Topic: strings.Repeat("t", broker.MaxTopic), Opcode: 1, Payload: []byte("long")},
		{Topic: "big", Opcode: 2, Payload: big},
		{Topic: "a", Opcode: 1, Payload: []byte("text")},
	}
	for _, e := range sent {
		b.must(b.Worker(1).Publish(e.Topic, e.Opcode, e.Payload))
	}
	b.settle(b.all())
	for i, r := range b.recorders {
		got := r.got()
		if len(got) != len(sent) {
			b.Fatalf("worker %d: got %d publications, want %d", i, len(got), len(sent))
		}
		for k, want := range sent {
			g := got[k]
			if g.Topic != want.Topic || g.Opcode != want.Opcode || !bytes.Equal(g.Payload, want.Payload) {
				b.Errorf("worker %d: got topic %q, opcode %d, %d bytes; want %q, %d, %d bytes",
					i, g.Topic, g.Opcode, len(g.Payload), want.Topic, want.Opcode, len(want.Payload))
			}
		}
	}
}

func testReuse(b *bench) {
	payload := make([]byte, 4)
	for k := range byte(100) {
		for j := range payload {
			payload[j] = k
		}
		b.must(b.Worker(0).Publish("news", 2, payload))
	}
	b.settle(b.all())
	for i, r := range b.recorders {
		for k, e := range r.got() {
			if want := bytes.Repeat([]byte{byte(k)}, 4); !bytes.Equal(e.Payload, want) {
				b.Fatalf("worker %d: got %v, want %v", i, e.Payload, want)
			}
		}
	}
}

func testLimits(b *bench) {
	w := b.Worker(0)
	long := make([]byte, broker.MaxPayload+1)
	conn := b.Conn(0, 1)
	for _, c := range []struct {
		what      string
		got, want error
	}{
		{"no topic", w.Publish("", 1, nil), broker.ErrTopic},
		{"a long topic", w.Publish(strings.Repeat("t", broker.MaxTopic+1), 1, nil), broker.ErrTopic},
		{"a long payload", w.Publish("t", 1, long), broker.ErrPayload},
		{"a long message", w.SendTo(conn, 1, long), broker.ErrPayload},
		{"a long reason", w.CloseConn(conn, 1000, string(long)), broker.ErrPayload},
	} {
		if !errors.Is(c.got, c.want) {
			b.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
	b.settle(b.all())
	for i, r := range b.recorders {
		if got := r.got(); len(got) != 0 {
			b.Errorf("worker %d: got %d envelopes, want none", i, len(got))
		}
	}
}

func testPublishWithin(b *bench) {
	w := b.Worker(3)
	r := b.recorders[3]
	r.within = func(e broker.Envelope) {
		if e.Topic == "question" {
			if err := w.Publish("answer", 1, e.Payload); err != nil {
				b.Error(err)
			}
		}
	}
	for k := range 10 {
		b.publish(0, "question", fmt.Sprint(k))
	}
	b.settle(b.all())
	for i, r := range b.recorders {
		var answers []string
		for _, e := range r.got() {
			if e.Topic == "answer" {
				answers = append(answers, string(e.Payload))
			}
		}
		if got := strings.Join(answers, ""); got != "0123456789" {
			b.Errorf("worker %d: got answers %q", i, got)
		}
	}
}

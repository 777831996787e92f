package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// envelopes has examples of each kind.
func envelopes() []broker.Envelope {
	return []broker.Envelope{
		{Kind: broker.Publish, Topic: "t", Payload: []byte{}},
		{Kind: broker.Publish, Topic: strings.Repeat("t", broker.MaxTopic), Opcode: 1, Seq: 1<<64 - 1, Payload: []byte("x")},
		{Kind: broker.Publish, Topic: "t", Opcode: 1 | broker.Plain, Payload: []byte("secret")},
		{Kind: broker.Send, Conn: 1<<64 - 1, Opcode: 255, Payload: []byte("hello")},
		{Kind: broker.Close, Conn: 7, Code: 4999, Payload: []byte("reason")},
		{Kind: broker.Position, Seq: 9, Payload: []byte{}},
		{Kind: broker.Here, Conn: 7, Payload: []byte{}},
		{Kind: broker.Gone, Conn: 7, Payload: []byte{}},
		{Kind: broker.Fence, Conn: 3, Seq: 4, Payload: []byte{}},
		{Kind: broker.Gap, Conn: 3, Seq: 4, Payload: []byte{}},
		{Kind: broker.Gap, Conn: 3, Seq: 4, Topic: "news", Payload: []byte{}},
		{Kind: broker.Gap, Conn: 3, Seq: 4, Code: broker.Abroad, Payload: []byte{}},
		{Kind: broker.Want, Topic: "news", Payload: []byte{}},
		{Kind: broker.Unwant, Topic: "news", Payload: []byte{}},
		{Kind: broker.Ask, Payload: []byte{}},
		{Kind: broker.Publish, Topic: "t", Seq: 4, Payload: []byte("x"), At: broker.Place{Epoch: 1, Offset: 1<<64 - 1}},
		{Kind: broker.Publish, Topic: "t", Conn: 3, Payload: []byte{}, At: broker.Place{Epoch: 1 << 63}},
		{Kind: broker.Recall, Topic: "t", Seq: 4, Conn: 3, Payload: make([]byte, 16)},
		{Kind: broker.Past, Topic: "t", Seq: 4, Conn: 3, Code: 1, Payload: make([]byte, 8)},
	}
}

// TestEnvelopeRoundTrip: parsing returns the envelopes that were appended, in order.
func TestEnvelopeRoundTrip(t *testing.T) {
	var b []byte
	for _, e := range envelopes() {
		b = broker.AppendEnvelope(b, e)
	}
	for _, want := range envelopes() {
		got, n, err := broker.ParseEnvelope(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		b = b[n:]
	}
	if len(b) != 0 {
		t.Errorf("got %d bytes left, want none", len(b))
	}
}

// TestEnvelopeForm: the encoding is a contract between versions that run at the same time.
func TestEnvelopeForm(t *testing.T) {
	got := broker.AppendEnvelope([]byte("before"), broker.Envelope{
		Kind: broker.Publish, Opcode: 2, Code: 0x0304, Seq: 5, Conn: 6, Topic: "top", Payload: []byte("pay"),
	})
	want := "before" + "\x1e\x00\x00\x00" + "\x01\x02\x00\x00" + "\x04\x03" + "\x03\x00" +
		"\x05\x00\x00\x00\x00\x00\x00\x00" + "\x06\x00\x00\x00\x00\x00\x00\x00" + "top" + "pay"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestPlainForm: workers of releases that do not know Plain see an opcode without it.
func TestPlainForm(t *testing.T) {
	b := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 1, Opcode: 2 | broker.Plain})
	if b[5] != 2 || b[8] != 1 || b[9] != 0 {
		t.Errorf("got opcode %d and code %d, want 2 and 1", b[5], binary.LittleEndian.Uint16(b[8:]))
	}
}

// damaged returns a valid envelope of a kind with one byte changed.
func damaged(kind broker.Kind, at int, to byte) []byte {
	e := broker.Envelope{Kind: kind, Payload: []byte("payload")}
	if kind == broker.Publish {
		e.Topic = "topic"
	}
	b := broker.AppendEnvelope(nil, e)
	b[at] = to
	return b
}

// TestParseEnvelopeRefuses: invalid envelopes are refused, and the one after them is found if possible.
func TestParseEnvelopeRefuses(t *testing.T) {
	good := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "topic", Payload: []byte("payload")})
	long := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Payload: make([]byte, broker.MaxPayload+1)})
	flagged := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Fence})
	flagged[6] = 1
	unplaced := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "t", Payload: make([]byte, 16)})
	unplaced[6] = 4
	endless := bytes.Clone(good)
	binary.LittleEndian.PutUint32(endless, 1<<32-1)
	for _, c := range []struct {
		rule  string
		b     []byte
		skips bool
	}{
		{"nothing", nil, false},
		{"a cut header", good[:27], false},
		{"a cut payload", good[:len(good)-1], false},
		{"a length shorter than the header", damaged(broker.Publish, 0, 23), false},
		{"an endless length", endless, false},
		{"kind 0", damaged(broker.Send, 4, 0), true},
		{"an unknown kind", broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Past + 1}), true},
		{"a gap with a payload", damaged(broker.Gap, 4, 8), true},
		{"a topic that is wanted and has no name", broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Want}), true},
		{"a question with topic", broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Ask, Topic: "t"}), true},
		{"a fence with a payload", damaged(broker.Fence, 4, 7), true},
		{"a fence with flags", flagged, true},
		{"unknown flags", damaged(broker.Send, 6, 8), true},
		{"a message with a place", damaged(broker.Send, 6, 4), true},
		{"a place that is cut off", damaged(broker.Publish, 6, 4), true},
		{"a place without an epoch", unplaced, true},
		{"a query without a topic", broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Recall}), true},
		{"an opcode with Plain, which is in the code", damaged(broker.Send, 5, 2|broker.Plain), true},
		{"a reserved byte", damaged(broker.Send, 7, 1), true},
		{"a publication without topic", damaged(broker.Publish, 10, 0), true},
		{"a message with topic", damaged(broker.Send, 10, 1), true},
		{"a topic longer than the envelope", damaged(broker.Publish, 10, 13), true},
		{"a topic longer than any", damaged(broker.Publish, 11, 2), true},
		{"a payload longer than any", long, true},
	} {
		want := 0
		if c.skips {
			want = len(c.b)
		}
		_, n, err := broker.ParseEnvelope(c.b)
		if !errors.Is(err, broker.ErrEnvelope) || n != want {
			t.Errorf("%s: got length %d, error %v, want %d and ErrEnvelope", c.rule, n, err, want)
		}
	}
	if _, n, err := broker.ParseEnvelope(append(good, "more"...)); err != nil || n != len(good) {
		t.Errorf("more after it: got length %d, error %v, want %d", n, err, len(good))
	}
}

// FuzzParseEnvelope: parsing never panics, an envelope has only one encoding, and an invalid one does not hide the
// next.
func FuzzParseEnvelope(f *testing.F) {
	for _, e := range envelopes() {
		f.Add(broker.AppendEnvelope(nil, e))
	}
	f.Add(damaged(broker.Publish, 11, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, n, err := broker.ParseEnvelope(b)
		if n < 0 || n > len(b) {
			t.Fatalf("got length %d of %d", n, len(b))
		}
		if err != nil {
			if !errors.Is(err, broker.ErrEnvelope) {
				t.Fatalf("got %v, want ErrEnvelope", err)
			}
			return
		}
		if got := broker.AppendEnvelope(nil, e); !bytes.Equal(got, b[:n]) {
			t.Fatalf("got  %x\nwant %x", got, b[:n])
		}
		if cap(e.Payload) != len(e.Payload) {
			t.Fatal("an append to the payload would write over what follows")
		}
	})
}

// FuzzReceive: Hub and Local survive any bytes, and a valid envelope after them arrives if its beginning can be found.
func FuzzReceive(f *testing.F) {
	for _, e := range envelopes() {
		f.Add(broker.AppendEnvelope(nil, e))
	}
	f.Add(damaged(broker.Send, 6, 1))
	f.Add(damaged(broker.Send, 6, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		hub := broker.NewHub(func(uint64) int { return 1 })
		queue := newTray()
		port := hub.Attach(1, queue)
		toHub := broker.LinkFunc(func(m []byte) error { port.Receive(m); return nil })
		arrived := 0
		local := broker.NewLocal(toHub, func(e broker.Envelope) bool {
			if e.Topic == "after" {
				arrived++
			}
			return false
		})
		want := 1
		for rest := b; len(rest) > 0; {
			_, n, err := broker.ParseEnvelope(rest)
			if err != nil && n == 0 {
				return // the end is unknown: the valid envelope may be part of the invalid one
			}
			if e, _, _ := broker.ParseEnvelope(rest); e.Topic == "after" {
				want++
			}
			rest = rest[n:]
		}
		local.Receive(broker.AppendEnvelope(bytes.Clone(b), broker.Envelope{Kind: broker.Publish, Topic: "after"}))
		if arrived != want {
			t.Fatalf("from the hub: got %d, want %d", arrived, want)
		}
		arrived = 0
		queue.take()
		port.Receive(broker.AppendEnvelope(bytes.Clone(b), broker.Envelope{Kind: broker.Publish, Topic: "after"}))
		local.Receive(queue.take())
		if arrived != want {
			t.Fatalf("through the hub: got %d, want %d", arrived, want)
		}
	})
}

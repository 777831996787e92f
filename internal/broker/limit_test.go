package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

func TestCheckTopic(t *testing.T) {
	longest := strings.Repeat("t", broker.MaxTopic)
	for _, tt := range []struct {
		rule, topic string
		want        error
	}{
		{"a name", "t", nil},
		{"a zero byte inside", "t\x00", nil},
		{"the longest name", longest, nil},
		{"no name", "", broker.ErrTopic},
		{"a zero byte at the beginning", "\x00t", broker.ErrTopic},
		{"a name that is too long", longest + "t", broker.ErrTopic},
	} {
		if err := broker.CheckTopic(tt.topic); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.rule, err, tt.want)
		}
	}
}

// TestTheLargestEnvelope: the limits of topic and payload are those of each, whatever the size of the other.
func TestTheLargestEnvelope(t *testing.T) {
	for _, e := range []broker.Envelope{
		{Kind: broker.Send, Conn: 1, Payload: make([]byte, broker.MaxPayload)},
		{Kind: broker.Publish, Topic: strings.Repeat("t", broker.MaxTopic), Payload: make([]byte, broker.MaxPayload)},
	} {
		b := broker.AppendEnvelope(nil, e)
		got, n, err := broker.ParseEnvelope(b)
		if err != nil || n != len(b) || got.Topic != e.Topic || len(got.Payload) != broker.MaxPayload {
			t.Errorf("kind %d: got a topic of %d and a payload of %d bytes, %v", e.Kind, len(got.Topic), len(got.Payload), err)
		}
		e.Payload = append(e.Payload, 0)
		_, _, err = broker.ParseEnvelope(broker.AppendEnvelope(nil, e))
		if want := fmt.Sprintf("a payload of %d bytes", broker.MaxPayload+1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("kind %d: got %v, want %q", e.Kind, err, want)
		}
	}
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 1)
	must(t, w.local.Publish("t", 1, make([]byte, broker.MaxPayload)))
	if err := w.local.Publish("t", 1, make([]byte, broker.MaxPayload+1)); err == nil {
		t.Error("a payload beyond the limit was published")
	}
}

// TestAnEnvelopeThatIsCutOffIsMeasured: the error has the length that was announced, and that which there is.
func TestAnEnvelopeThatIsCutOffIsMeasured(t *testing.T) {
	b := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send, Conn: 1, Payload: []byte("payload")})
	_, _, err := broker.ParseEnvelope(b[:len(b)-2])
	if want := fmt.Sprintf("a length of %d bytes in %d", len(b)-4, len(b)-6); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestGapOfAsManyTopicsAsThereMayBe: the limit itself is not too many.
func TestGapOfAsManyTopicsAsThereMayBe(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	l := listen(hub, 1)
	l.down.err = errNoRoom
	var want []string
	for k := range broker.MaxGapTopics {
		must(t, hub.Publish(fmt.Sprint(k), 1, nil))
		want = append(want, fmt.Sprintf("gap %d: 1 up to %d", k, k+1))
	}
	l.down.err = nil
	l.port.Flush()
	l.want(t, want...)
}

// TestASlotHoldsUpToItsLimit: messages that fill it exactly are held, and one more is dropped and counted.
func TestASlotHoldsUpToItsLimit(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 1, 7)
	w.port.Hold()
	header := len(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Send}))
	const n = 16
	for range n {
		must(t, hub.SendTo(7, 1, make([]byte, broker.MaxHeld/n-header)))
	}
	if s := hub.Stats(); s.HeldFull != 0 {
		t.Errorf("%d messages were dropped, want none", s.HeldFull)
	}
	must(t, hub.SendTo(7, 1, nil))
	if s := hub.Stats(); s.HeldFull != 1 {
		t.Errorf("%d messages were dropped, want 1", s.HeldFull)
	}
}

// TestACloseIsOwedUntilTheLinkTakesIt: a link that is still full loses nothing, and the worker is told of no gap.
func TestACloseIsOwedUntilTheLinkTakesIt(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	w := newWorker(hub, 1, 7)
	w.read()
	w.down.err = errNoRoom
	must(t, hub.CloseConn(7, 1000, "bye"))
	w.port.Flush()
	w.down.err = nil
	w.port.Flush()
	got := w.down.take()
	e, n, err := broker.ParseEnvelope(got)
	if err != nil || n != len(got) || e.Kind != broker.Close || e.Conn != 7 || string(e.Payload) != "bye" {
		t.Errorf("got %+v, %d of %d bytes, %v, want the close and nothing else", e, n, len(got), err)
	}
	if w.port.Flush(); len(w.down.take()) > 0 {
		t.Error("the close was sent twice")
	}
}

// TestStateWithASlotTwiceIsRefused: the numbers of slots ascend.
func TestStateWithASlotTwiceIsRefused(t *testing.T) {
	state := func(numbers ...uint64) []byte {
		b := binary.LittleEndian.AppendUint32(nil, 1)
		b = append(b, make([]byte, 8*8)...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(numbers)))
		for _, n := range numbers {
			b = append(binary.LittleEndian.AppendUint64(b, n), make([]byte, 4*8)...)
		}
		return binary.LittleEndian.AppendUint64(b, 0)
	}
	good := state(3, 4)
	hub := broker.NewHub(bySlot)
	must(t, hub.LoadState(good))
	if !bytes.Equal(hub.AppendState(nil), good) {
		t.Error("the state of two slots was not loaded")
	}
	if err := broker.NewHub(bySlot).LoadState(state(3, 3)); !errors.Is(err, broker.ErrState) {
		t.Errorf("got %v, want %v", err, broker.ErrState)
	}
}

package broker_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// listener is a worker that records publications, gaps and answers to fences.
type listener struct {
	local *broker.Local
	down  *tray
	port  *broker.Port
	got   []string
}

func listen(hub *broker.Hub, slot int) *listener {
	l := &listener{down: newTray()}
	l.local = broker.NewLocal(newTray(), func(e broker.Envelope) bool {
		switch e.Kind {
		case broker.Publish:
			l.got = append(l.got, fmt.Sprintf("%s %d", e.Topic, e.Seq))
		case broker.Gap:
			l.got = append(l.got, fmt.Sprintf("gap %s: %d up to %d", e.Topic, e.Conn, e.Seq))
		case broker.Fence:
			l.got = append(l.got, fmt.Sprintf("fence %d", e.Seq))
		}
		return true
	})
	l.port = hub.Attach(slot, l.down)
	return l
}

func (l *listener) read() { l.local.Receive(l.down.take()) }

func (l *listener) want(t *testing.T, want ...string) {
	t.Helper()
	l.read()
	if fmt.Sprint(l.got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", l.got, want)
	}
	l.got = nil
}

var errNoRoom = errors.New("no room")

// TestGap: missed publications are reported by topic, before anything later or as soon as there is room.
func TestGap(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	slow, other := listen(hub, 1), listen(hub, 2)
	publish := func(topics ...string) {
		for _, topic := range topics {
			must(t, hub.Publish(topic, 1, nil))
		}
	}
	publish("a")
	slow.down.err = errNoRoom
	publish("b", "a", "b")
	slow.port.Flush() // it has no room yet
	slow.down.err = nil
	publish("c")
	slow.want(t, "a 1", "gap a: 1 up to 3", "gap b: 2 up to 4", "c 5")
	slow.down.err = errNoRoom
	publish("c")
	slow.down.err = nil
	slow.port.Flush()
	slow.port.Flush()
	slow.want(t, "gap c: 1 up to 6")
	if got := slow.local.Position(); got != 6 {
		t.Errorf("the position is %d, want 6", got)
	}
	other.want(t, "a 1", "b 2", "a 3", "b 4", "c 5", "c 6")
	if got := hub.Stats().Dropped[1]; got != 4 {
		t.Errorf("%d were dropped, want 4", got)
	}
}

// TestGapOfManyTopics: beyond the limit, the topics of missed publications are unknown.
func TestGapOfManyTopics(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	l := listen(hub, 1)
	l.down.err = errNoRoom
	for k := range broker.MaxGapTopics + 1 {
		must(t, hub.Publish(fmt.Sprint(k), 1, nil))
	}
	must(t, hub.Publish("0", 1, nil))
	l.down.err = nil
	l.port.Flush()
	l.want(t, "gap : 1026 up to 1026")
}

// TestGapBeforeFence: the answer to a fence has the worker's position, so it must not overtake a gap.
func TestGapBeforeFence(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	l := listen(hub, 1)
	l.down.err = errNoRoom
	must(t, hub.Publish("a", 1, nil))
	l.down.err = nil
	l.port.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Fence, Conn: 1}))
	l.want(t, "gap a: 1 up to 1", "fence 1")
}

// TestGapAcrossHubs: gaps that a Hub could not report before it was replaced, and publications that were lost without a
// report, are detected by their numbers.
func TestGapAcrossHubs(t *testing.T) {
	before, after := broker.NewHub(firstSlot), broker.NewHub(firstSlot)
	must(t, before.Publish("a", 1, nil)) // before the worker attaches, so it is not missed
	l := listen(before, 1)
	l.want(t)
	l.down.err = errNoRoom
	must(t, before.Publish("a", 1, nil))
	must(t, after.LoadState(before.AppendState(nil)))
	l.down = newTray()
	l.port = after.Attach(1, l.down)
	l.want(t, "gap : 1 up to 2")
	must(t, after.Publish("a", 1, nil))
	l.down.take() // lost in transit
	must(t, after.Publish("b", 1, nil))
	l.want(t, "gap : 1 up to 3", "b 4")
	l.local.Receive(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "zero"}))
	l.want(t, "zero 0")
}

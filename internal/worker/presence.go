package worker

import (
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/ws"
)

// Presence tells how this worker takes part in presence. Its functions must not block.
type Presence struct {
	// Covers reports whether it is of interest who is in a topic.
	Covers func(topic string) bool
	// Member returns the ID of the owner of a connection; empty if it is no member. It is called with locks of the engine
	// held.
	Member func(owner any) string
	// Info returns what the application tells of a member. It is called on the loop.
	Info func(topic string, owner any) string
	// Event returns the message for an event; ok is false if there is none. It is called on the loop.
	Event func(topic string, e presence.Event) (op ws.Opcode, payload []byte, ok bool)
}

// trackPresence sets up the presence of e, if there is any.
func (w *Worker) trackPresence(e *engine.Config) {
	p := w.Config.Presence
	if p == nil {
		return
	}
	w.counts = presence.NewCounts(w.Link, func() { w.engine.Post(w.counts.Flush) }, p.Info)
	e.Subscribed = func(c *engine.Conn, topic string, subscribed bool) {
		if !p.Covers(topic) {
			return
		}
		owner := c.Owner()
		if id := p.Member(owner); id != "" {
			w.counts.Set(topic, id, owner, subscribed)
		}
	}
}

// tellEverything answers a hub that asks what it has to know of this worker. On the loop.
func (w *Worker) tellEverything() {
	if w.interest != nil {
		w.engine.EachTopic(w.interest.SetAll)
	}
	if w.counts != nil {
		w.counts.TellAll()
	}
}

// tellAgain tells the hub what the link has refused. On the loop.
func (w *Worker) tellAgain() {
	if w.interest != nil {
		w.interest.Flush()
	}
	if w.counts != nil {
		w.counts.Flush()
	}
}

// change tells the subscribers of a topic who has come or gone. On the loop.
func (w *Worker) change(e broker.Envelope) {
	if p := w.Config.Presence; p != nil {
		if event, err := presence.ParseEvent(e.Payload); err == nil {
			if op, payload, ok := p.Event(e.Topic, event); ok {
				w.engine.Publish(e.Seq, e.Topic, op, payload)
				return
			}
		}
	}
	w.engine.Reached(e.Seq)
}

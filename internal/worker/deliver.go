package worker

import (
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// deliver brings a message to its connections here. It reports false if the connection is not here. On the loop.
func (w *Worker) deliver(e broker.Envelope) (found bool) {
	w.ticker.Wake()
	switch e.Kind {
	case broker.Publish:
		if e.Topic == broker.TopicAssignments {
			w.assign(e)
			return true
		}
		if e.At.Epoch != 0 || w.keeps(e.Topic) {
			w.placed(&e)
			return true
		}
		w.engine.PublishExcept(e.Seq, e.Topic, ws.Opcode(e.Opcode), e.Payload, e.Conn)
		return true
	case broker.Gap:
		w.engine.Gap(e.Seq, engine.Gap{
			Topic: e.Topic, Missed: e.Conn, Tolerated: e.Code == broker.Abroad && !w.CloseOnGap,
			Kept: e.Code != broker.Abroad, // otherwise what is kept was read in vain
		})
		return true
	case broker.Past:
		w.past(&e)
		return true
	case broker.Ask:
		w.tellEverything()
		return true
	case broker.Change:
		w.change(e)
		return true
	case broker.Fence:
		w.host.fenced(e.Conn)
		return true
	}
	c := w.engine.Lookup(e.Conn)
	if u := w.engine.Opening(e.Conn); c == nil && u != nil {
		if e.Kind == broker.Close {
			_ = u.Close(ws.CloseCode(e.Code), string(e.Payload)) // the sender has checked it
			return true
		}
		u.Send(ws.Opcode(e.Opcode), e.Payload)
		return true
	}
	if c == nil || c.Away() || w.host.holds(e.Conn) {
		return w.host.forward(e)
	}
	if e.Kind == broker.Close {
		_ = c.Close(ws.CloseCode(e.Code), string(e.Payload)) // it may have ended meanwhile
		return true
	}
	c.Send(ws.Opcode(e.Opcode), e.Payload)
	return true
}

// closeElsewhere closes a connection that is opening here or has moved from here. On the loop.
func (w *Worker) closeElsewhere(conn uint64, code ws.CloseCode, reason string) bool {
	return w.deliver(broker.Envelope{Kind: broker.Close, Conn: conn, Code: uint16(code), Payload: []byte(reason)})
}

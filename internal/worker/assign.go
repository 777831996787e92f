package worker

import (
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
)

// assign subscribes connections to a topic, or ends their subscriptions. On the loop.
func (w *Worker) assign(e broker.Envelope) {
	a, err := broker.ParseAssignment(e.Payload)
	var id session.ID
	if err == nil && len(a.Session) > 0 {
		id, err = session.ParseID(string(a.Session))
	}
	if err != nil {
		w.log.Warn("subscription from elsewhere not understood", "error", err)
		w.engine.Reached(e.Seq)
		return
	}
	do := &engine.Assignment{Topic: a.Topic, Leave: a.Leave, Of: a.Of, Conn: a.Conn, Except: a.Except}
	if !id.IsZero() {
		do.Match = func(c *engine.Conn) bool {
			client := w.ClientOf(c.Owner())
			if client == nil {
				return false
			}
			own, _ := client.Session()
			return own == id
		}
	}
	w.engine.Assign(e.Seq, do)
}

package worker

import (
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// Frame returns what subscribers get of a publication: see engine.History.
type Frame func(topic string, at engine.Place, op ws.Opcode, payload []byte) (ws.Opcode, []byte)

// history connects the engine with what topics keep; nil if none keeps anything.
func (w *Worker) history() *engine.History {
	if w.Histories.Len() == 0 {
		return nil
	}
	h := &engine.History{
		Keeps: w.keeps,
		Recall: func(q engine.Query) bool {
			if w.interest != nil { // other machines must be heard first
				w.interest.Flush()
			}
			return w.local.Recall(broker.Query{
				Topic: q.Topic, After: broker.Place(q.After), Last: q.Last, Bytes: q.Bytes, Token: q.Token,
			}) == nil
		},
	}
	h.Frame = func(topic string, at engine.Place, op ws.Opcode, payload []byte) (ws.Opcode, []byte) {
		if f, _ := w.Histories.Find(topic); f != nil {
			return f(topic, at, op, payload)
		}
		return op, payload
	}
	return h
}

// keeps reports whether a topic has a history.
func (w *Worker) keeps(topic string) bool {
	if w.Histories.Len() == 0 || broker.CheckTopic(topic) != nil { // topics of the server keep nothing
		return false
	}
	_, kept := w.Histories.Find(topic)
	return kept
}

// placed delivers a publication on a topic with a history. In an outage of the backplane, it has no place yet. On the
// loop.
func (w *Worker) placed(e *broker.Envelope) {
	w.engine.PublishPlaced(e.Seq, e.Topic, engine.Place(e.At), engine.Kept{
		Op: ws.Opcode(e.Opcode), Except: e.Conn, Payload: e.Payload,
	})
}

// past takes a page of what a topic has kept. On the loop.
func (w *Worker) past(e *broker.Envelope) {
	p, err := broker.ParsePage(e)
	if err != nil {
		return // as if it was lost: it is asked for once more
	}
	page := engine.Page{
		Token: p.Token, Topic: p.Topic, After: engine.Place(p.After), More: p.More, Lost: p.Lost,
		Messages: make([]engine.Kept, len(p.Messages)),
	}
	for i, m := range p.Messages {
		page.Messages[i] = engine.Kept{Op: ws.Opcode(m.Opcode), Except: m.Except, Payload: m.Payload}
	}
	w.engine.Past(page)
}

package engine

import (
	"log/slog"

	"github.com/expedite-go/expedite/ws"
)

// Place is the place of a publication in the history of its topic: see broker.Place. The zero Place is none.
type Place struct{ Epoch, Offset uint64 }

// History leads to what topics keep. It is the way of an engine to ask for pages of it: see Engine.Past.
type History struct {
	// Keeps reports whether a topic keeps its latest publications. It is safe for concurrent use.
	Keeps func(topic string) bool
	// Recall asks for a page. It reports false if the question could not be sent. On the loop.
	Recall func(q Query) bool
	// Frame returns what the subscribers of a topic get of a publication; nil means the publication. It is called once for
	// each publication, or for each page that has it, on the loop. The result is used before the next call.
	Frame func(topic string, at Place, op ws.Opcode, payload []byte) (ws.Opcode, []byte)
}

// Query is a question for what a topic has kept: see broker.Query.
type Query struct {
	Topic       string
	After       Place
	Last, Bytes uint32
	Token       uint64
}

// Page is the answer to a Query: see broker.Page.
type Page struct {
	Token      uint64
	Topic      string
	After      Place
	More, Lost bool
	Messages   []Kept
}

// Kept is a publication of a Page.
type Kept struct {
	Op      ws.Opcode
	Except  uint64
	Payload []byte
}

func (p *Page) end() Place { return Place{p.After.Epoch, p.After.Offset + uint64(len(p.Messages))} }

// PublishPlaced is PublishExcept for a publication with a place in the history of its topic. The zero Place means that
// it has none yet. On the loop.
func (e *Engine) PublishPlaced(seq uint64, topic string, at Place, m Kept) int {
	h := e.recoveries
	if h == nil {
		return e.PublishExcept(seq, topic, m.Op, m.Payload, m.Except)
	}
	e.topicsMu.Lock()
	wanted := len(e.topics.Members(topic)) > 0
	if at.Epoch != 0 && (wanted || h.topics[topic] > 0) {
		h.places[topic] = at
	}
	e.topicsMu.Unlock()
	if wanted || e.recording {
		m = e.frame(topic, at, m) // without the lock, because it is the application's
	}
	return e.publish(seq, Mark{topic, at}, m)
}

// frame returns what subscribers get of a publication.
func (e *Engine) frame(topic string, at Place, m Kept) (framed Kept) {
	f := e.cfg.History.Frame
	if f == nil {
		return m
	}
	e.watch.enter()
	defer e.watch.leave()
	returned := false
	framed = m
	defer func() {
		if !returned { // subscribers get the publication as it is
			e.Panicked("frame", recover(), slog.String("topic", topic))
		}
	}()
	op, payload := f(topic, at, m.Op, m.Payload)
	framed.Op, framed.Payload = op, payload
	returned = true
	return framed
}

// topicChanged is Config.TopicChanged, but a recovery counts as a subscriber. e.topicsMu is held.
func (e *Engine) topicChanged(topic string, exists bool) {
	h := e.recoveries
	if h != nil && h.topics[topic] > 0 {
		return // it has been told, and will be at the end of the recovery
	}
	if h != nil && !exists {
		delete(h.places, topic)
	}
	if e.cfg.TopicChanged != nil {
		e.cfg.TopicChanged(topic, exists)
	}
}

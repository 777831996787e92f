package broker

import (
	"encoding/binary"
	"fmt"
)

// Place is the place of a publication in the history of its topic. Offsets begin with 1 and grow by 1 per publication.
// An epoch ends when publications may have been lost; no other one, of any topic of the same name, has the same number.
// The zero Place is none.
type Place struct{ Epoch, Offset uint64 }

// Kept is a publication in a history.
type Kept struct {
	Opcode  byte
	Except  uint64 // the connection that does not get it; 0 if all do
	Payload []byte
}

// Space returns the number of bytes of a page that the publication takes.
func (k *Kept) Space() int { return keptLen + len(k.Payload) }

// Query asks for what a topic has kept.
type Query struct {
	Topic string
	// After is the place before the first publication that is asked for. If its Epoch is 0, the Last newest ones are
	// asked for, or as many as there are. With Last 0, the answer has the place of the newest one.
	After Place
	Last  uint32
	// Bytes bounds the Space of all publications of the answer together, as MaxPage does. It has one at least, however
	// long, if there is one.
	Bytes uint32
	// Token is repeated in the answer.
	Token uint64

	mark uint64 // of the port that has asked
}

// Page is the answer to a Query: the publications after a place, as many as fit, without a hole.
type Page struct {
	Token    uint64
	Topic    string
	After    Place // before the first of Messages. Its Epoch is never 0
	More     bool  // there are later ones: ask again, after End
	Lost     bool  // After of the Query cannot be continued. There are no Messages, and After is the place of the newest
	Messages []Kept
}

// End returns the place of the last publication, or After if there is none.
func (p *Page) End() Place {
	return Place{Epoch: p.After.Epoch, Offset: p.After.Offset + uint64(len(p.Messages))}
}

// History keeps the latest publications of some topics, and decides on their order. Keeps is called by any goroutine.
// The other methods are called with the Hub's lock held: they must neither block nor call the Hub. What they get is
// valid until they return.
type History interface {
	// Keeps reports whether publications on a topic are kept. It always says the same of a topic.
	Keeps(topic []byte) bool
	// Append keeps a publication of this machine and returns its place. If that is not known yet, it reports false, and
	// Hub.Placed is called later, in the order of places. Machines.Publish is not called for it.
	Append(topic []byte, m Kept) (at Place, ok bool)
	// Read answers a query, or reports false; then Hub.Answer is called later. A page without More ends with the newest
	// publication that Append has placed or that was passed to Hub.Placed: between that and Hub.Answer, no later one on
	// the topic is passed to it. Its payloads are not changed afterwards.
	Read(q Query) (p Page, ok bool)
}

// Keep connects the Hub with the history of topics. It must be called before Attach.
func (h *Hub) Keep(history History) { h.history = history }

// Placed delivers a publication that has got its place in the history: of this machine, if History.Append did not know
// it, or of another one.
func (h *Hub) Placed(topic string, m Kept, at Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.place(topic, m, at)
	h.trim()
}

// Answer answers a query later than History.Read. A page for a worker that has ended is dropped.
func (h *Hub) Answer(q Query, p Page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer(q, p)
	h.trim()
}

// retain appends a publication of this machine to the history, and delivers it.
func (h *Hub) retain(topic string, m Kept) {
	if at, ok := h.history.Append([]byte(topic), m); ok {
		h.place(topic, m, at)
		h.trim()
	}
}

func (h *Hub) place(topic string, m Kept, at Place) {
	h.scratch = AppendEnvelope(h.scratch[:0], Envelope{
		Kind: Publish, Topic: topic, Opcode: m.Opcode, Conn: m.Except, Payload: m.Payload, At: at,
	})
	h.publish(topic, h.scratch)
}

// recall passes a worker's query on.
func (h *Hub) recall(p *Port, e *Envelope, topic string) {
	q, err := parseQuery(e, topic)
	if err != nil || p.gone || h.history == nil || !h.history.Keeps([]byte(topic)) {
		p.slot.malformed++ // a worker asks for what is kept only
		return
	}
	q.mark = p.mark
	if page, ok := h.history.Read(q); ok {
		h.answer(q, page)
		h.trim()
	}
}

// answer sends a page to the worker that has asked. If its link does not take it, the worker asks again.
func (h *Hub) answer(q Query, p Page) {
	p.Token, p.Topic = q.Token, q.Topic
	for _, port := range h.ports {
		if port.mark == q.mark {
			h.scratch = AppendPage(h.scratch[:0], &p)
			port.put(h.scratch)
		}
	}
}

// Recall asks the Hub for what a topic has kept. The answer is delivered as an envelope of kind Past, see ParsePage. A
// page without More comes after all publications on the topic up to its end, and before all later ones. An answer may
// be lost. Recall returns ErrTopic or ErrOverloaded.
func (l *Local) Recall(q Query) error {
	if CheckTopic(q.Topic) != nil {
		return ErrTopic
	}
	var b [queryLen]byte
	return l.send(q.envelope(b[:0]))
}

const (
	queryLen = 16 // the payload of a Recall: epoch (8), last (4), bytes (4)
	keptLen  = 13 // before each payload in a Past: its length (4), opcode, except (8)

	pageMore uint16 = 1 // codes of a Past
	pageLost uint16 = 2
)

func (q *Query) envelope(buf []byte) Envelope {
	buf = binary.LittleEndian.AppendUint64(buf, q.After.Epoch)
	buf = binary.LittleEndian.AppendUint32(buf, q.Last)
	buf = binary.LittleEndian.AppendUint32(buf, q.Bytes)
	return Envelope{Kind: Recall, Topic: q.Topic, Seq: q.After.Offset, Conn: q.Token, Payload: buf}
}

func parseQuery(e *Envelope, topic string) (Query, error) {
	if len(e.Payload) != queryLen {
		return Query{}, fmt.Errorf("%w: a query of %d bytes", ErrEnvelope, len(e.Payload))
	}
	return Query{
		Topic: topic, Token: e.Conn,
		After: Place{Epoch: binary.LittleEndian.Uint64(e.Payload), Offset: e.Seq},
		Last:  binary.LittleEndian.Uint32(e.Payload[8:]), Bytes: binary.LittleEndian.Uint32(e.Payload[12:]),
	}, nil
}

// AppendPage appends the encoding of a page, an envelope of kind Past. Its payload begins with the epoch (8).
func AppendPage(dst []byte, p *Page) []byte {
	start := len(dst)
	code := uint16(0)
	if p.More {
		code |= pageMore
	}
	if p.Lost {
		code |= pageLost
	}
	dst = AppendEnvelope(dst, Envelope{
		Kind: Past, Code: code, Topic: p.Topic, Seq: p.After.Offset, Conn: p.Token,
	})
	dst = binary.LittleEndian.AppendUint64(dst, p.After.Epoch)
	for i := range p.Messages {
		m := &p.Messages[i]
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Payload)))
		dst = append(dst, m.Opcode)
		dst = binary.LittleEndian.AppendUint64(dst, m.Except)
		dst = append(dst, m.Payload...)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// ParsePage returns the page of an envelope of kind Past. Its payloads alias that of the envelope. The error is
// ErrEnvelope.
func ParsePage(e *Envelope) (Page, error) {
	b := e.Payload
	if e.Kind != Past || len(b) < 8 || e.Code&^(pageMore|pageLost) != 0 {
		return Page{}, fmt.Errorf("%w: kind %d, code %d, %d bytes", ErrEnvelope, e.Kind, e.Code, len(b))
	}
	p := Page{
		Token: e.Conn, Topic: e.Topic, More: e.Code&pageMore != 0, Lost: e.Code&pageLost != 0,
		After: Place{Epoch: binary.LittleEndian.Uint64(b), Offset: e.Seq},
	}
	for b = b[8:]; len(b) > 0; {
		if len(b) < keptLen || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-keptLen) {
			return Page{}, fmt.Errorf("%w: a page that is cut off", ErrEnvelope)
		}
		end := keptLen + int(binary.LittleEndian.Uint32(b))
		p.Messages = append(p.Messages, Kept{
			Opcode: b[4], Except: binary.LittleEndian.Uint64(b[5:]), Payload: b[keptLen:end:end],
		})
		b = b[end:]
	}
	if p.After.Epoch == 0 || p.After.Offset+uint64(len(p.Messages)) < p.After.Offset ||
		p.Lost && (p.More || len(p.Messages) > 0) || p.More && len(p.Messages) == 0 {
		return Page{}, fmt.Errorf("%w: a page that contradicts itself", ErrEnvelope)
	}
	return p, nil
}

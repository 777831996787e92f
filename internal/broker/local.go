package broker

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
)

// Deliver delivers an envelope in this worker. It reports false if the envelope is for a connection that is not here.
// It reports true for a message that it keeps for later, or that it passes to this worker's successor. The result is
// ignored for a publication, a Gap, an Ask, a Past and the answer to a Fence. The envelope's payload is valid until
// Deliver returns.
type Deliver func(e Envelope) (found bool)

// Local is a worker's side: it sends to the Hub and delivers what the Hub passes on. It is safe for concurrent use,
// except for Receive and Redirect.
type Local struct {
	link      Link
	deliver   Deliver
	buffers   sync.Pool // of *[]byte
	malformed atomic.Uint64
	refused   atomic.Uint64
	sent      atomic.Uint64
	position  atomic.Uint64
	heard     bool   // position is known; used by Receive only
	topic     string // the last one, as the next is usually the same; used by Receive only
}

// maxKeptBuffer is the largest buffer that is kept for the next message, in bytes.
const maxKeptBuffer = 64 << 10

// NewLocal returns a worker's side over a link to the Hub.
func NewLocal(link Link, deliver Deliver) *Local {
	l := &Local{link: link, deliver: deliver}
	l.buffers.New = func() any { return new([]byte) }
	return l
}

// Publish sends a message to all subscribers of a topic in all workers, including this one. It returns ErrTopic,
// ErrPayload or ErrOverloaded. The payload may be reused when it returns.
func (l *Local) Publish(topic string, opcode byte, payload []byte) error {
	return l.PublishExcept(topic, opcode, payload, 0)
}

// PublishExcept is Publish to all subscribers but one connection. 0 is none.
func (l *Local) PublishExcept(topic string, opcode byte, payload []byte, except uint64) error {
	return l.message(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload, Conn: except})
}

// SendTo sends a message to one connection, wherever it is. A connection that does not exist is not an error. It
// returns ErrPayload or ErrOverloaded. The payload may be reused when it returns.
func (l *Local) SendTo(conn uint64, opcode byte, payload []byte) error {
	return l.message(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes one connection, wherever it is. A connection that does not exist is not an error. It returns
// ErrPayload or ErrOverloaded. It does not validate code and reason.
func (l *Local) CloseConn(conn uint64, code uint16, reason string) error {
	return l.message(Envelope{Kind: Close, Conn: conn, Code: code, Payload: []byte(reason)})
}

// Here tells the Hub that a connection that began elsewhere lives here now. It returns ErrOverloaded.
func (l *Local) Here(conn uint64) error { return l.send(Envelope{Kind: Here, Conn: conn}) }

// Gone revokes Here: the connection has ended. It has no effect if the connection lives elsewhere by now. It returns
// ErrOverloaded.
func (l *Local) Gone(conn uint64) error { return l.send(Envelope{Kind: Gone, Conn: conn}) }

// Fence asks the Hub for an answer, which is delivered as an Envelope of kind Fence with the token in Conn. By then
// the Hub has passed on, or holds, everything that was sent before, and this worker has received everything that the
// Hub had for it, including the publications up to the answer's Seq. Fence returns ErrOverloaded. The answer is lost
// if the link back is full.
func (l *Local) Fence(token uint64) error { return l.send(Envelope{Kind: Fence, Conn: token}) }

// Position returns the number of the last publication that was delivered here, or that came before this worker.
func (l *Local) Position() uint64 { return l.position.Load() }

// Sent returns the number of messages passed to the link, including those that were bounced. A message is counted
// after the link has taken or refused it. So the number includes everything that a goroutine has sent before it calls
// Sent, and as long as the number does not change, an earlier fence covers all messages.
func (l *Local) Sent() uint64 { return l.sent.Load() }

// Refused returns the number of messages that the link did not take.
func (l *Local) Refused() uint64 { return l.refused.Load() }

// Malformed returns the number of invalid envelopes from the Hub. If the length of an envelope is invalid, those
// after it in the same message cannot be found, and all of them count as one.
func (l *Local) Malformed() uint64 { return l.malformed.Load() }

func (l *Local) message(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
	err := l.send(e)
	l.sent.Add(1) // not before Send, or a fence in between would seem to cover the message
	return err
}

func (l *Local) send(e Envelope) error {
	buf := l.buffers.Get().(*[]byte)
	*buf = AppendEnvelope((*buf)[:0], e)
	err := l.link.Send(*buf)
	if cap(*buf) <= maxKeptBuffer {
		l.buffers.Put(buf)
	}
	if err != nil {
		l.refused.Add(1)
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	}
	return nil
}

// Receive delivers a message from the Hub, which is one or more envelopes. Calls must not overlap; their order is the
// order of delivery. Receive modifies m, and does not keep it. Invalid envelopes are counted and skipped.
func (l *Local) Receive(m []byte) {
	for len(m) > 0 {
		e, topic, n, err := parse(m)
		if err != nil {
			l.malformed.Add(1)
			m = m[cmp.Or(n, len(m)):]
			continue
		}
		switch e.Kind {
		case Publish, Change:
			if string(topic) != l.topic {
				l.topic = string(topic)
			}
			e.Topic = l.topic
			l.skip(max(e.Seq, 1) - 1)
			l.deliver(e)
			l.reach(e.Seq)
		case Gap:
			e.Topic = string(topic)
			l.deliver(e)
			l.reach(e.Seq)
		case Send, Close:
			l.direct(e, m[:n:n])
		case Position:
			l.skip(e.Seq)
			l.reach(e.Seq)
		case Ask, Past:
			e.Topic = string(topic)
			l.deliver(e)
		case Fence:
			l.skip(e.Seq)
			l.reach(e.Seq)
			l.deliver(e)
		default: // only workers send the others
			l.malformed.Add(1)
		}
		m = m[n:]
	}
}

// Redirect delivers messages to connections that come from this worker's predecessor instead of the Hub: one or more
// envelopes, as AppendEnvelope encodes those that the predecessor's Deliver received. It treats them as Receive does,
// except that envelopes that are not for a single connection count as malformed. Calls must not overlap with each other
// or with those of Receive.
func (l *Local) Redirect(m []byte) {
	for len(m) > 0 {
		e, _, n, err := parse(m)
		if err == nil && (e.Kind == Send || e.Kind == Close) {
			l.direct(e, m[:n:n])
		} else {
			l.malformed.Add(1)
		}
		m = m[cmp.Or(n, len(m)):]
	}
}

// direct delivers a directed message, or bounces it to the Hub. b is its encoding.
func (l *Local) direct(e Envelope, b []byte) {
	e.Seq = 0 // the Hub's mark, which has no meaning for Deliver
	if l.deliver(e) || e.flags&flagFlood != 0 {
		return
	}
	b[flagsAt] |= flagBounced
	if err := l.link.Send(b); err != nil {
		l.refused.Add(1)
	}
	l.sent.Add(1)
}

// skip delivers a Gap if publications up to seq are missing without a Gap from the Hub: they were lost with a Hub
// that was replaced or with an invalid envelope, or the Hub is of a release that does not send gaps.
func (l *Local) skip(seq uint64) {
	if position := l.position.Load(); l.heard && seq > position {
		l.deliver(Envelope{Kind: Gap, Seq: seq, Conn: seq - position})
		l.reach(seq)
	}
}

// reach raises the position. It is called by Receive only.
func (l *Local) reach(seq uint64) {
	l.heard = true
	if seq > l.position.Load() {
		l.position.Store(seq)
	}
}

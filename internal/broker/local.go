package broker

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
)

// Deliver brings an envelope to where it belongs in this worker. It reports false if it is for a connection that is not
// here: of a message that it keeps for later, or to pass it to this worker's successor, it reports true. Of a
// publication, of a Gap and of the answer to a Fence, the result means nothing. The envelope's payload is valid until
// it returns.
type Deliver func(e Envelope) (found bool)

// Local is a worker's side: it sends to the Hub and delivers what the Hub passes on. Any goroutine, but see Receive.
type Local struct {
	link      Link
	deliver   Deliver
	buffers   sync.Pool // of *[]byte
	malformed atomic.Uint64
	refused   atomic.Uint64
	sent      atomic.Uint64
	position  atomic.Uint64
	heard     bool   // in Receive: position is known
	topic     string // in Receive: the latest one, as the next is most often the same
}

// maxKeptBuffer bounds the buffers kept for the next message, in bytes.
const maxKeptBuffer = 64 << 10

// NewLocal makes a worker's side over a link to the Hub.
func NewLocal(link Link, deliver Deliver) *Local {
	l := &Local{link: link, deliver: deliver}
	l.buffers.New = func() any { return new([]byte) }
	return l
}

// Publish sends a message to all subscribers of a topic in all workers, this one included. It fails with ErrTopic,
// ErrPayload or ErrOverloaded. The payload may be used again when it returns.
func (l *Local) Publish(topic string, opcode byte, payload []byte) error {
	return l.message(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload})
}

// SendTo sends a message to one connection, wherever it is. That it is nowhere is no error. It fails with ErrPayload or
// ErrOverloaded. The payload may be used again when it returns.
func (l *Local) SendTo(conn uint64, opcode byte, payload []byte) error {
	return l.message(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes one connection, wherever it is. That it is nowhere is no error. It fails with ErrPayload or
// ErrOverloaded. Code and reason are not judged here.
func (l *Local) CloseConn(conn uint64, code uint16, reason string) error {
	return l.message(Envelope{Kind: Close, Conn: conn, Code: code, Payload: []byte(reason)})
}

// Here tells the Hub that a connection that began elsewhere lives here from now on. It fails with ErrOverloaded.
func (l *Local) Here(conn uint64) error { return l.send(Envelope{Kind: Here, Conn: conn}) }

// Gone takes Here back: the connection has ended. One that lives elsewhere by now is not disturbed. It fails with
// ErrOverloaded.
func (l *Local) Gone(conn uint64) error { return l.send(Envelope{Kind: Gone, Conn: conn}) }

// Fence asks the Hub for an answer, which comes to deliver as an Envelope of kind Fence with the token in Conn. By then
// the Hub has passed on, or holds for others, all that was sent before, and this worker has got everything that the Hub
// had for it, publications up to the answer's Seq among it. It fails with ErrOverloaded. An answer that finds the way
// back full is lost.
func (l *Local) Fence(token uint64) error { return l.send(Envelope{Kind: Fence, Conn: token}) }

// Position is the number of the latest publication that was delivered here, or that came before this worker.
func (l *Local) Position() uint64 { return l.position.Load() }

// Sent counts messages for the link, those that were sent back because their connection is not here included. It is
// counted when the link has the message, or has refused it: what a goroutine has sent before it reads the number is
// counted, and as long as that stays the same, an earlier fence covers it.
func (l *Local) Sent() uint64 { return l.sent.Load() }

// Refused is the number of messages that the link did not take.
func (l *Local) Refused() uint64 { return l.refused.Load() }

// Malformed is the number of envelopes from the Hub that were none. Of several that stand together behind one whose
// length makes no sense, none can be found: they count as one.
func (l *Local) Malformed() uint64 { return l.malformed.Load() }

func (l *Local) message(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
	err := l.send(e)
	l.sent.Add(1) // not before: a fence between the two would seem to cover it
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

// Receive delivers a message from the Hub: one or more envelopes. Calls must not overlap, and their order is the order
// of delivery. It writes into m, and is done with it when it returns. What is no envelope is counted and left out.
func (l *Local) Receive(m []byte) {
	for len(m) > 0 {
		e, topic, n, err := parse(m)
		if err != nil {
			l.malformed.Add(1)
			m = m[cmp.Or(n, len(m)):]
			continue
		}
		switch e.Kind {
		case Publish:
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
		case Fence:
			l.skip(e.Seq)
			l.reach(e.Seq)
			l.deliver(e)
		default: // only workers say the others
			l.malformed.Add(1)
		}
		m = m[n:]
	}
}

// Redirect delivers messages to connections that came from this worker's predecessor instead of the Hub: one or more
// envelopes, as AppendEnvelope makes them of what that one was given to deliver. They are treated as in Receive, whose
// calls those of Redirect must not overlap; but what is not for one connection is counted as malformed.
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

// direct delivers a directed message, of which b is the form, or sends it back to the Hub.
func (l *Local) direct(e Envelope, b []byte) {
	e.Seq = 0 // the Hub's mark, which is nobody else's business
	if l.deliver(e) || e.flags&flagFlood != 0 {
		return
	}
	b[flagsAt] |= flagBounced
	if err := l.link.Send(b); err != nil {
		l.refused.Add(1)
	}
	l.sent.Add(1)
}

// skip delivers a Gap if publications up to seq have not come, and nobody has told so: they were lost with a Hub that
// was replaced, with an envelope that made no sense, or by a release that tells of no gaps.
func (l *Local) skip(seq uint64) {
	if position := l.position.Load(); l.heard && seq > position {
		l.deliver(Envelope{Kind: Gap, Seq: seq, Conn: seq - position})
		l.reach(seq)
	}
}

// reach raises the position. Only Receive does.
func (l *Local) reach(seq uint64) {
	l.heard = true
	if seq > l.position.Load() {
		l.position.Store(seq)
	}
}

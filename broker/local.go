package broker

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
)

// Deliver brings an envelope to where it belongs in this worker. It reports false if it is for a connection that is not
// here; of a publication, the result means nothing. The envelope's payload is valid until it returns.
type Deliver func(e Envelope) (found bool)

// Local is a worker's side: it sends to the Hub and delivers what the Hub passes on. Any goroutine, but see Receive.
type Local struct {
	link      Link
	deliver   Deliver
	buffers   sync.Pool // of *[]byte
	malformed atomic.Uint64
	refused   atomic.Uint64
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
	return l.send(Envelope{Kind: Publish, Topic: topic, Opcode: opcode, Payload: payload})
}

// SendTo sends a message to one connection, wherever it is. That it is nowhere is no error. It fails with ErrPayload or
// ErrOverloaded. The payload may be used again when it returns.
func (l *Local) SendTo(conn uint64, opcode byte, payload []byte) error {
	return l.send(Envelope{Kind: Send, Conn: conn, Opcode: opcode, Payload: payload})
}

// CloseConn closes one connection, wherever it is. That it is nowhere is no error. It fails with ErrPayload or
// ErrOverloaded. Code and reason are not judged here.
func (l *Local) CloseConn(conn uint64, code uint16, reason string) error {
	return l.send(Envelope{Kind: Close, Conn: conn, Code: code, Payload: []byte(reason)})
}

// Refused is the number of messages that the link did not take.
func (l *Local) Refused() uint64 { return l.refused.Load() }

// Malformed is the number of envelopes from the Hub that were none. Of several that stand together behind one whose
// length makes no sense, none can be found: they count as one.
func (l *Local) Malformed() uint64 { return l.malformed.Load() }

func (l *Local) send(e Envelope) error {
	if err := e.check(); err != nil {
		return err
	}
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
		if e.Kind == Publish {
			if string(topic) != l.topic {
				l.topic = string(topic)
			}
			e.Topic = l.topic
		} else {
			e.Seq = 0 // the Hub's mark, which is nobody else's business
		}
		if !l.deliver(e) && e.Kind != Publish && e.flags&flagFlood == 0 {
			l.bounce(m[:n:n])
		}
		m = m[n:]
	}
}

// bounce sends a directed message back to the Hub.
func (l *Local) bounce(b []byte) {
	b[flagsAt] |= flagBounced
	if err := l.link.Send(b); err != nil {
		l.refused.Add(1)
	}
}

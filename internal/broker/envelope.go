package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind tells what an Envelope is.
type Kind uint8

// The kinds of envelopes.
const (
	// Publish goes to all subscribers of Topic.
	Publish Kind = iota + 1
	// Send goes to the connection Conn.
	Send
	// Close closes the connection Conn with Code; Payload is the reason.
	Close
	// Position tells a worker, before all else, that it hears the publications after the one with number Seq.
	Position
	// Here tells the Hub that the connection Conn lives in the worker's slot from now on.
	Here
	// Gone tells the Hub that the connection Conn does not live in the worker's slot any more.
	Gone
	// Fence asks the Hub with a token in Conn whether it has come so far, and is its answer: then with the number of the
	// latest publication in Seq.
	Fence
	// Gap tells a worker that publications to Topic have not reached it: as many as Conn says, the last of them with the
	// number Seq. Without a Topic, they may have been to any.
	Gap
)

// Limits of an envelope.
const (
	// MaxTopic is the longest name of a topic in bytes.
	MaxTopic = 256
	// MaxPayload is the longest payload in bytes.
	MaxPayload = 32 << 20
)

// Errors that callers branch on.
var (
	// ErrTopic says that a topic's name is empty or longer than MaxTopic.
	ErrTopic = errors.New("broker: bad topic name")
	// ErrPayload says that a payload is longer than MaxPayload.
	ErrPayload = errors.New("broker: payload too long")
	// ErrOverloaded says that a Link did not take a message, most often because its queue is full. It comes together
	// with the Link's own error.
	ErrOverloaded = errors.New("broker: overloaded")
	// ErrEnvelope says that bytes are no envelope.
	ErrEnvelope = errors.New("broker: bad envelope")
)

// Envelope is one message between workers.
type Envelope struct {
	Kind    Kind
	Opcode  byte   // of the message, for whoever delivers it
	Code    uint16 // Close
	Seq     uint64 // Publish: its number, from 1, or 0 before the Hub. Position, Fence: the latest. Gap: the last missed
	Conn    uint64 // Send, Close, Here, Gone: the connection. Fence: the token. Gap: how many were missed
	Topic   string // Publish: 1 to MaxTopic bytes. Gap: the same, or empty
	Payload []byte
	flags   uint8
}

// An envelope on its way: length of the rest (4), kind, opcode, flags, 0, code (2), length of the topic (2), number
// (8), connection (8), topic, payload; little-endian. The number of a directed message is the Hub's mark of the link
// that it went to.
const (
	kindAt    = 4
	flagsAt   = 6
	seqAt     = 12
	connAt    = 20
	headerLen = 28
)

const (
	flagBounced uint8 = 1 << iota // the worker that was asked does not have the connection
	flagFlood                     // all workers are asked: do not answer
	allFlags    = flagBounced | flagFlood
)

// AppendEnvelope appends e in its form for a Link, and returns the result. Several may follow one another in one
// message. What a worker was given to deliver keeps what the Hub noted on it: see Local.Redirect. The topic and
// payload of e must keep to their limits: what is longer does not come out again.
func AppendEnvelope(dst []byte, e Envelope) []byte {
	n := headerLen - 4 + len(e.Topic) + len(e.Payload)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(e.Kind), e.Opcode, e.flags, 0)
	dst = binary.LittleEndian.AppendUint16(dst, e.Code)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(e.Topic)))
	dst = binary.LittleEndian.AppendUint64(dst, e.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, e.Conn)
	dst = append(dst, e.Topic...)
	return append(dst, e.Payload...)
}

// ParseEnvelope reads the first envelope of b and its length there. Payload aliases b. The error is ErrEnvelope; if n
// is then not 0, what follows the bad envelope begins at b[n:].
func ParseEnvelope(b []byte) (e Envelope, n int, err error) {
	e, topic, n, err := parse(b)
	e.Topic = string(topic)
	return e, n, err
}

// parse is ParseEnvelope without the copy of the topic, which aliases b.
func parse(b []byte) (e Envelope, topic []byte, n int, err error) {
	if len(b) < headerLen {
		return Envelope{}, nil, 0, fmt.Errorf("%w: cut off", ErrEnvelope)
	}
	rest := uint64(binary.LittleEndian.Uint32(b))
	if rest < headerLen-4 || rest > uint64(len(b)-4) {
		return Envelope{}, nil, 0, fmt.Errorf("%w: a length of %d bytes in %d", ErrEnvelope, rest, len(b)-4)
	}
	n = 4 + int(rest)
	e = Envelope{
		Kind: Kind(b[4]), Opcode: b[5], flags: b[flagsAt],
		Code: binary.LittleEndian.Uint16(b[8:]),
		Seq:  binary.LittleEndian.Uint64(b[seqAt:]),
		Conn: binary.LittleEndian.Uint64(b[connAt:]),
	}
	name := int(binary.LittleEndian.Uint16(b[10:]))
	switch {
	case e.Kind < Publish || e.Kind > Gap:
		err = fmt.Errorf("%w: kind %d", ErrEnvelope, e.Kind)
	case name > MaxTopic || headerLen+name > n || e.Kind != Gap && (e.Kind == Publish) != (name > 0):
		err = fmt.Errorf("%w: kind %d with a topic of %d bytes", ErrEnvelope, e.Kind, name)
	case n-headerLen-name > MaxPayload:
		err = fmt.Errorf("%w: a payload of %d bytes", ErrEnvelope, n-headerLen-name)
	case e.flags&^allFlags != 0 || b[flagsAt+1] != 0:
		err = fmt.Errorf("%w: unknown flags", ErrEnvelope)
	case e.Kind > Close && (e.flags != 0 || n > headerLen+name):
		err = fmt.Errorf("%w: kind %d with flags or a payload", ErrEnvelope, e.Kind)
	}
	if err != nil {
		return Envelope{}, nil, n, err
	}
	e.Payload = b[headerLen+name : n : n]
	return e, b[headerLen : headerLen+name], n, nil
}

// check judges what an application wants to send.
func (e *Envelope) check() error {
	switch {
	case e.Kind == Publish && (e.Topic == "" || len(e.Topic) > MaxTopic):
		return ErrTopic
	case len(e.Payload) > MaxPayload:
		return ErrPayload
	default:
		return nil
	}
}

package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind is the kind of an Envelope.
type Kind uint8

// The kinds of envelopes.
const (
	// Publish goes to all subscribers of Topic.
	Publish Kind = iota + 1
	// Send goes to the connection Conn.
	Send
	// Close closes the connection Conn with Code; Payload is the reason.
	Close
	// Position tells a worker, before anything else, that it receives the publications after the one with number Seq.
	Position
	// Here tells the Hub that the connection Conn lives in the worker's slot now.
	Here
	// Gone tells the Hub that the connection Conn no longer lives in the worker's slot.
	Gone
	// Fence asks the Hub to answer once it has passed on everything before, and is also the answer. Conn is a token
	// that the answer repeats; in the answer, Seq is the number of the latest publication.
	Fence
	// Gap tells a worker that it has missed publications to Topic. Conn is how many, and Seq the number of the last
	// one. If Topic is empty, they may have been to any topic. Code is Abroad if they were lost on the way between
	// machines.
	Gap
	// Want tells the Hub that Topic has subscribers in the worker, Unwant that it has none.
	Want
	Unwant
	// Ask asks a worker for all topics that have subscribers there.
	Ask
	// Recall asks the Hub for what Topic has kept, Past answers a worker: see Query and Page.
	Recall
	Past
	// Enter tells the Hub that a member of Topic has a subscription in the worker, and Leave that it has none any more.
	// Payload is the member, for package presence.
	Enter
	Leave
	// Told follows everything that an Ask has asked for.
	Told
	// Change tells the subscribers of Topic who has come or gone. Payload is an event of package presence. It has a number
	// as a publication has.
	Change
)

// Abroad is the Code of a Gap in the publications of other machines.
const Abroad = 1

// Limits of an envelope.
const (
	// MaxTopic is the longest name of a topic, in bytes.
	MaxTopic = 256
	// MaxPayload is the longest payload, in bytes.
	MaxPayload = 32 << 20
	// MaxPage is the largest page of several messages, in bytes with their headers. A single one may be longer.
	MaxPage = 64 << 10
)

// Errors that callers branch on.
var (
	// ErrTopic is returned if the name of a topic is empty or longer than MaxTopic.
	ErrTopic = errors.New("broker: bad topic name")
	// ErrPayload is returned if a payload is longer than MaxPayload.
	ErrPayload = errors.New("broker: payload too long")
	// ErrOverloaded is returned if a Link did not take a message, usually because its queue is full. It wraps the error
	// of the Link.
	ErrOverloaded = errors.New("broker: overloaded")
	// ErrEnvelope is returned if bytes are not a valid envelope.
	ErrEnvelope = errors.New("broker: bad envelope")
)

// Envelope is one message between workers.
type Envelope struct {
	Kind   Kind
	Opcode byte   // of the message; opaque, but for Plain
	Code   uint16 // Close; Gap: 0 or Abroad; Past
	Seq    uint64 // Publish: its number, from 1, or 0 before the Hub. Position, Fence: the latest. Gap: the last missed
	// Conn is the connection of Send, Close, Here and Gone, a connection that does not get a Publish or 0, the token of
	// Fence, Recall and Past, and how many were missed of Gap.
	Conn    uint64
	Topic   string // 1 to MaxTopic bytes in kinds that have one. Gap: the same, or empty
	Payload []byte
	At      Place // Publish: its place in the history, which only the Hub sets; zero if the topic keeps none
	flags   uint8
}

// Plain is a bit of Envelope.Opcode that stays with a message. It is encoded in the code, which workers of releases
// that do not know it ignore.
const Plain = 0x80

// plainCode is the code of a message with Plain.
const plainCode = 1

// The encoding of an envelope: length of the rest (4), kind, opcode, flags, 0, code (2), length of the topic (2),
// number (8), connection (8), topic, payload; little-endian. The number of a directed message is the Hub's mark of
// the port that it was sent to. With flagPlaced, the payload begins with epoch (8) and offset (8).
const (
	kindAt    = 4
	flagsAt   = 6
	seqAt     = 12
	connAt    = 20
	headerLen = 28
)

const (
	flagBounced uint8 = 1 << iota // the worker that received it does not have the connection
	flagFlood                     // it is sent to all workers: do not bounce it
	flagPlaced                    // a publication with a place in the history
	allFlags    = flagBounced | flagFlood | flagPlaced

	placeLen = 16
)

// AppendEnvelope appends the encoding of e to dst and returns the result. A message on a Link may contain several
// envelopes. An envelope that was passed to Deliver keeps the flags that the Hub has set: see Local.Redirect. The topic
// and payload of e must not exceed their limits; ParseEnvelope rejects longer ones.
func AppendEnvelope(dst []byte, e Envelope) []byte {
	if e.Opcode&Plain != 0 {
		e.Opcode, e.Code = e.Opcode&^Plain, plainCode
	}
	n := headerLen - 4 + len(e.Topic) + len(e.Payload)
	if e.At.Epoch != 0 {
		e.flags |= flagPlaced
		n += placeLen
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(e.Kind), e.Opcode, e.flags, 0)
	dst = binary.LittleEndian.AppendUint16(dst, e.Code)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(e.Topic)))
	dst = binary.LittleEndian.AppendUint64(dst, e.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, e.Conn)
	dst = append(dst, e.Topic...)
	if e.At.Epoch != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, e.At.Epoch)
		dst = binary.LittleEndian.AppendUint64(dst, e.At.Offset)
	}
	return append(dst, e.Payload...)
}

// ParseEnvelope returns the first envelope of b and its length. Payload aliases b. The error is ErrEnvelope; if n is
// not 0, the envelope after the bad one begins at b[n:].
func ParseEnvelope(b []byte) (e Envelope, n int, err error) {
	e, topic, n, err := parse(b)
	e.Topic = string(topic)
	return e, n, err
}

// parse is ParseEnvelope without copying the topic, which aliases b.
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
	case e.Kind < Publish || e.Kind > Change:
		err = fmt.Errorf("%w: kind %d", ErrEnvelope, e.Kind)
	case name > MaxTopic || headerLen+name > n || e.Kind != Gap && e.Kind.named() != (name > 0):
		err = fmt.Errorf("%w: kind %d with a topic of %d bytes", ErrEnvelope, e.Kind, name)
	case n-headerLen-name > maxPayload(e.Kind, e.flags):
		err = fmt.Errorf("%w: a payload of %d bytes", ErrEnvelope, n-headerLen-name)
	case e.flags&^allFlags != 0 || b[flagsAt+1] != 0:
		err = fmt.Errorf("%w: unknown flags", ErrEnvelope)
	case e.Opcode&Plain != 0: // it is in the code
		err = fmt.Errorf("%w: opcode %d", ErrEnvelope, e.Opcode)
	case e.flags&flagPlaced != 0 && (e.Kind != Publish || n < headerLen+name+placeLen):
		err = fmt.Errorf("%w: kind %d with a place in %d bytes", ErrEnvelope, e.Kind, n-headerLen-name)
	case e.Kind > Close && (e.flags != 0 || n > headerLen+name && !e.Kind.carries()):
		err = fmt.Errorf("%w: kind %d with flags or a payload", ErrEnvelope, e.Kind)
	}
	if err != nil {
		return Envelope{}, nil, n, err
	}
	if (e.Kind == Publish || e.Kind == Send) && e.Code == plainCode {
		e.Opcode, e.Code = e.Opcode|Plain, 0
	}
	topic, e.Payload = b[headerLen:headerLen+name], b[headerLen+name:n:n]
	if e.flags&flagPlaced != 0 {
		e.flags &^= flagPlaced
		e.At = Place{binary.LittleEndian.Uint64(e.Payload), binary.LittleEndian.Uint64(e.Payload[8:])}
		e.Payload = e.Payload[placeLen:]
		if e.At.Epoch == 0 {
			return Envelope{}, nil, n, fmt.Errorf("%w: a place without an epoch", ErrEnvelope)
		}
	}
	return e, topic, n, nil
}

// named reports whether envelopes of this kind have a topic.
func (k Kind) named() bool {
	return k == Publish || k == Want || k == Unwant || k >= Recall && k != Told
}

// carries reports whether envelopes of this kind may have a payload.
func (k Kind) carries() bool { return k <= Close || k >= Recall && k != Told }

// maxPayload returns the length of the longest payload: a page has one message of MaxPayload at least.
func maxPayload(k Kind, flags uint8) int {
	switch {
	case k == Past:
		return MaxPayload + MaxPage
	case flags&flagPlaced != 0:
		return MaxPayload + placeLen
	default:
		return MaxPayload
	}
}

// CheckTopic returns ErrTopic if an application may not use the name: if it is empty, longer than MaxTopic, or begins
// with a zero byte. Names that begin with a zero byte are reserved for the server.
func CheckTopic(topic string) error {
	if topic == "" || topic[0] == 0 || len(topic) > MaxTopic {
		return ErrTopic
	}
	return nil
}

// check validates what an application wants to send.
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

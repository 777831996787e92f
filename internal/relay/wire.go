package relay

import (
	"encoding/binary"
	"errors"
	"time"
)

// kind is the kind of a message between machines.
type kind byte

const (
	// publication has a number, and is for the subscribers of the topic.
	publication kind = iota + 1
	// position tells the number of the latest publication on the topic, and how long ago it was.
	position
	// directed is an envelope of the broker for one connection; its topic is that of a machine.
	directed
	// resync asks all machines for their positions, on topicAll; age is how far back.
	resync
	// exception is a publication that one connection of another machine does not get.
	exception
	// asks is a question to all machines, on topicAll: seq is its number, opcode its subject.
	asks
	// answers is the answer of node, on the topic of the machine that has asked: stream is that machine, seq the number of
	// the question, opcode an answerState.
	answers
	// omitted tells how many publications, seq, on the topic did not get into its history.
	omitted
	// mark is for the machine that has sent it: see marks.
	mark
	// assignment is a broker.Assignment: on the topic to which its connections are subscribed, that of their machine, or
	// topicAll.
	assignment
	// news is not made by a relay: the backplane tells who is in a topic. The rest is a backplane.Announcement.
	news
)

// numbered reports whether messages of a kind are numbered by topic.
func (k kind) numbered() bool { return k != resync && k != asks && k != answers && k != mark }

// message is a message between machines. Its bytes are: kind, node (8), the numbers of the kind as uvarints, the opcode
// of a publication, of an exception its connection (8) before that, and the data. Questions and answers are like
// publications.
type message struct {
	kind   kind
	node   uint64
	stream uint64 // publication, position: a machine that has forgotten its number begins a new stream, with a higher one
	seq    uint64 // publication, position, directed: from 1
	age    time.Duration
	opcode byte
	except uint64 // exception: the connection
	data   []byte
}

const headLen = 1 + 8

var errMessage = errors.New("relay: message of another machine not understood")

// append appends the encoding of m.
func (m *message) append(b []byte) []byte {
	b = append(b, byte(m.kind))
	b = binary.LittleEndian.AppendUint64(b, m.node)
	if m.kind != resync {
		b = binary.AppendUvarint(b, m.stream)
		b = binary.AppendUvarint(b, m.seq)
	}
	switch m.kind {
	case publication, asks, answers:
		b = append(b, m.opcode)
	case exception:
		b = append(binary.LittleEndian.AppendUint64(b, m.except), m.opcode)
	case position, resync:
		b = binary.AppendUvarint(b, uint64(max(m.age, 0)/time.Millisecond))
	case directed, omitted, mark, assignment:
	}
	return append(b, m.data...)
}

// parse reads a message. Its data aliases b.
func parse(b []byte) (m message, err error) {
	if len(b) < headLen {
		return m, errMessage
	}
	m.kind, m.node = kind(b[0]), binary.LittleEndian.Uint64(b[1:])
	b = b[headLen:]
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, n = errMessage, 0
		}
		b = b[n:]
		return v
	}
	if m.kind != resync {
		m.stream, m.seq = number(), number()
	}
	switch {
	case (m.kind == publication || m.kind == asks || m.kind == answers) && len(b) > 0:
		m.opcode, b = b[0], b[1:]
	case m.kind == exception && len(b) > 8:
		m.except, m.opcode, b = binary.LittleEndian.Uint64(b), b[8], b[9:]
	case m.kind == position || m.kind == resync:
		m.age = time.Duration(min(number(), uint64(maxAge/time.Millisecond))) * time.Millisecond
	case m.kind == directed || m.kind == omitted || m.kind == mark || m.kind == assignment:
	default:
		return m, errMessage
	}
	m.data = b
	return m, err
}

// maxAge bounds times that other machines tell.
const maxAge = 24 * time.Hour

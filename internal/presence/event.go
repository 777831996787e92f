package presence

import (
	"encoding/binary"
	"errors"
)

// Kind is what has happened in a topic.
type Kind byte

// The kinds. The values are part of what machines of different releases tell each other.
const (
	// Joined means that the member is in the topic from now on, and Left that it is no longer.
	Joined Kind = iota + 1
	Left
	// Crowded means that the topic has more members than its rule lists: joins and leaves are not told any more.
	Crowded
	// Listed means that it has no more than that again: they are told from now on.
	Listed
)

// Event is what the subscribers of a topic are told.
type Event struct {
	Kind Kind
	// Count is the number of members after the event.
	Count int
	// Member has joined or left. With Crowded and Listed, it is the one that changed the number.
	Member
}

// EventOf returns the event of a change after which a topic has a number of members and lists up to max of them.
// Nobody is told if it has more.
func EventOf(joined bool, count, max int, m Member) (e Event, told bool) {
	e = Event{Kind: Left, Count: count, Member: m}
	switch {
	case joined && count == max+1:
		e.Kind = Crowded
	case joined:
		e.Kind = Joined
	case count == max:
		e.Kind = Listed
	}
	return e, count <= max || e.Kind == Crowded
}

// errEvent reports bytes that are not an event.
var errEvent = errors.New("presence: bad event")

// eventHead is the length of what comes before the member.
const eventHead = 1 + 4

// Append appends the encoding of e: kind, count (4 bytes, little-endian), and the member.
func (e Event) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, byte(e.Kind)), uint32(e.Count))
	return e.append(b)
}

// ParseEvent reads what Append has written.
func ParseEvent(b []byte) (e Event, err error) {
	if len(b) < eventHead || Kind(b[0]) < Joined || Kind(b[0]) > Listed {
		return e, errEvent
	}
	e.Kind, e.Count = Kind(b[0]), int(binary.LittleEndian.Uint32(b[1:]))
	if e.Member, err = parseMember(b[eventHead:]); err != nil {
		return Event{}, errEvent
	}
	return e, nil
}

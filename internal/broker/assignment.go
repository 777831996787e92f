package broker

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/record"
)

// TopicAssignments is the topic of assignments. They are publications, so all workers have them in the order of the
// other ones, and connections that move miss none. Workers of releases that do not know them have no subscriber there.
const TopicAssignments = "\x00assignments"

// Assignment subscribes connections to a topic, or ends their subscriptions.
type Assignment struct {
	Leave bool
	// One of these names the connections: the topic to which all of them are subscribed, their session, or the only one.
	Of      string
	Session []byte
	Conn    uint64
	// Except is a connection that is left out; 0 is none.
	Except uint64
	Topic  string
}

// The records of an assignment. Each begins with its tag and its length; unknown tags are skipped.
const (
	tagLeave = iota + 1
	tagOf
	tagSession
	tagConn
	tagExcept
	tagTopic
)

// ErrAssignment is returned if bytes are not a valid assignment.
var ErrAssignment = errors.New("broker: bad assignment")

// Append appends the encoding of a.
func (a *Assignment) Append(dst []byte) []byte {
	if a.Leave {
		dst = record.Append(dst, tagLeave, "")
	}
	dst = record.Append(dst, tagOf, a.Of)
	dst = record.Append(dst, tagSession, a.Session)
	dst = record.AppendUint64(dst, tagConn, a.Conn)
	dst = record.AppendUint64(dst, tagExcept, a.Except)
	return record.Append(dst, tagTopic, a.Topic)
}

// ParseAssignment reads an assignment. It aliases nothing of b.
func ParseAssignment(b []byte) (a Assignment, err error) {
	d := record.NewDecoder(b)
	for d.More() {
		tag, value := d.Next()
		switch tag {
		case tagLeave:
			a.Leave = true
		case tagOf:
			a.Of = string(value)
		case tagSession:
			a.Session = append([]byte(nil), value...)
		case tagConn, tagExcept:
			if len(value) != 8 {
				return a, ErrAssignment
			}
			n := binary.LittleEndian.Uint64(value)
			if tag == tagConn {
				a.Conn = n
			} else {
				a.Except = n
			}
		case tagTopic:
			a.Topic = string(value)
		}
	}
	named := 0
	for _, is := range []bool{a.Of != "", len(a.Session) > 0, a.Conn != 0} {
		if is {
			named++
		}
	}
	if d.End() != nil || named != 1 || CheckTopic(a.Topic) != nil || len(a.Of) > MaxTopic {
		return a, ErrAssignment
	}
	return a, nil
}

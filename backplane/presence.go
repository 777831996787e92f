package backplane

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrLapsed means that an attendance has ended: its lease has run out, or the server has lost it.
var ErrLapsed = errors.New("backplane: the attendance has lapsed")

// Limits of a member.
const (
	// MaxMember is the longest ID of a member, in bytes.
	MaxMember = 300
	// MaxInfo is the longest Info of a member, in bytes.
	MaxInfo = 256
	// MaxChange is the largest number of members of a Change.
	MaxChange = 256
)

// Presence is what a Backplane may implement in addition: it knows who is in topics on all machines. Package redisplane
// does. Its methods may wait for a server until their context ends. They fail with ErrUnavailable, ErrRefused,
// ErrTooLarge or ErrClosed; after any of them it is not known what was done.
//
// A machine has an attendance, under which it adds members to topics. A member is in a topic while an attendance has it
// there. An attendance lives while it is extended. That of a machine that has died is ended by another one with Reap.
// An attendance belongs to one part of a Backplane that is Divided, and is used for the topics of this part only. All
// others have only part 0.
//
// Whenever a member comes into a topic or leaves it for good, an Announcement is published to the topic, in the order
// of these changes on all machines and exactly once, as far as messages are.
type Presence interface {
	// Attend begins an attendance without members, and returns its random id. It lives for the time of the lease.
	Attend(ctx context.Context, part int, lease time.Duration) (id uint64, err error)
	// Extend makes an attendance live for the time of the lease from now. It fails with ErrLapsed if the attendance has
	// ended.
	Extend(ctx context.Context, part int, id uint64, lease time.Duration) error
	// Change changes the members of a topic under an attendance. What is so already is no change. Concurrent calls for
	// the same topic and attendance have no order.
	Change(ctx context.Context, id uint64, topic string, c Change) (Standing, error)
	// Members returns the members of a topic: only their number if there are more than most.
	Members(ctx context.Context, topic string, most int) (Members, error)
	// Retire ends an attendance: its members leave. One that the part does not know is no error.
	Retire(ctx context.Context, part int, id uint64) error
	// Reap retires the attendances of a part whose lease has run out, and returns how many these were.
	Reap(ctx context.Context, part int) (int, error)
}

// Change is a change of the members of a topic.
type Change struct {
	// Add has members that come, Restore members that others were told of before, Keep those of them that are about to
	// leave, and Remove the IDs of members that leave. Together they are up to MaxChange.
	//
	// If the server has lost its memory since Knows, which the Epoch of the new Standing shows, it only adds Restore and
	// Keep, and nobody is told. Otherwise, Restore is like Add, and Keep is nothing.
	Add, Restore, Keep []Member
	Remove             []string
	// Knows is the latest Standing of the topic that the caller knows; zero if it knows none.
	Knows Standing
	// Max is the number of members up to which changes are announced, and the change beyond it; -1 announces nothing.
	Max int
	// Prefix begins the payload of announcements.
	Prefix []byte
}

// Member is who may be in a topic.
type Member struct{ ID, Info string }

// Standing is the state of a topic: the number of announcements so far, in an epoch. When the server has lost its
// memory of the topic, a new epoch begins, with 0. An epoch is not 0.
type Standing struct {
	Epoch, Announced uint64
	// Count is the number of members.
	Count int
}

// Members tells who is in a topic.
type Members struct {
	Count int
	// List is empty if there are more members than were wanted. They have no order.
	List []Member
}

// Announcement is what a topic is told of a change of its members. Count is that after the change, and Announced the
// number of the announcement, from 1.
type Announcement struct {
	Standing
	Joined bool
	Member
}

// errAnnouncement reports a payload that is not an Announcement.
var errAnnouncement = errors.New("backplane: bad announcement")

// Append appends the payload of an Announcement, without Change.Prefix: epoch, number, count, j or l with the length of
// the ID, each with a space behind it, the ID, and the info.
func (a Announcement) Append(b []byte) []byte {
	for _, n := range []uint64{a.Epoch, a.Announced, uint64(a.Count)} {
		b = append(strconv.AppendUint(b, n, 10), ' ')
	}
	kind := byte('l')
	if a.Joined {
		kind = 'j'
	}
	b = append(strconv.AppendInt(append(b, kind), int64(len(a.ID)), 10), ' ')
	return append(append(b, a.ID...), a.Info...)
}

// ParseAnnouncement reads what Append has written.
func ParseAnnouncement(payload []byte) (a Announcement, err error) {
	parts := strings.SplitN(string(payload), " ", 5)
	if len(parts) != 5 || parts[3] == "" || parts[3][0] != 'j' && parts[3][0] != 'l' {
		return a, errAnnouncement
	}
	var numbers [4]uint64
	for i, text := range []string{parts[0], parts[1], parts[2], parts[3][1:]} {
		if numbers[i], err = strconv.ParseUint(text, 10, 64); err != nil {
			return a, errAnnouncement
		}
	}
	n, rest := numbers[3], parts[4]
	if numbers[0] == 0 || numbers[2] > 1<<32 || n == 0 || n > MaxMember || n > uint64(len(rest)) ||
		uint64(len(rest))-n > MaxInfo {
		return a, errAnnouncement
	}
	a.Standing = Standing{Epoch: numbers[0], Announced: numbers[1], Count: int(numbers[2])}
	a.Joined, a.Member = parts[3][0] == 'j', Member{ID: rest[:n], Info: rest[n:]}
	return a, nil
}

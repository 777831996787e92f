package presence

import (
	"cmp"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/topic"
)

// Rule is what applies to topics.
type Rule struct {
	// MaxListed is the number of members up to which they are listed and events are told.
	MaxListed int
	// Silent means that subscribers get no events.
	Silent bool
}

// Roster is who is in which topic on a machine. It is pure code: the time is an argument. It has no lock.
type Roster struct {
	rules *topic.Rules[*Rule]
	max   int
	grace time.Duration
	// changed is called for a member that has come, or whose grace has passed. The roster keeps a member that has gone
	// until forget.
	changed func(r *room, m *member)

	rooms   map[string]*room
	members int // in all rooms, with those that were not forgotten yet
	present int // in all rooms
	leaving []departure
	refused uint64 // members that were not taken because there were too many
	full    bool   // one was refused since the last call of Room
}

// room is a topic with members.
type room struct {
	topic   string
	rule    *Rule
	members map[string]*member
	present int // of members
	share   share
}

// member is a Member in a room.
type member struct {
	Member
	room    *room
	holders []uint64      // the ports of workers that have a subscription
	left    time.Duration // since when there are none
	queued  bool          // in Roster.leaving
	present bool          // it has a subscription, or its grace has not passed
	quiet   bool          // the next change makes no event: others know of it already
	shared  shared
}

// departure is a member that may leave when its grace has passed.
type departure struct {
	at time.Duration
	*member
}

// NewRoster returns an empty Roster for up to max pairs of a topic and a member.
func NewRoster(
	rules *topic.Rules[*Rule], max int, grace time.Duration, changed func(r *room, m *member),
) *Roster {
	return &Roster{rules: rules, max: max, grace: grace, changed: changed, rooms: make(map[string]*room)}
}

// Enter records that a worker has a subscription of a member. It reports false if there are too many members. Quiet
// tells that others know of the member.
func (r *Roster) Enter(port uint64, name string, who Member, quiet bool) bool {
	at := r.rooms[name]
	if at == nil {
		rule, ok := r.rules.Find(name)
		if !ok {
			return true // the worker has other rules: it is of another release
		}
		at = &room{topic: name, rule: rule, members: make(map[string]*member)}
	}
	m := at.members[who.ID]
	switch {
	case m == nil && r.members >= r.max:
		r.refused++
		r.full = true
		return false
	case m == nil:
		m = &member{Member: who, room: at, quiet: quiet}
		at.members[who.ID] = m
		r.rooms[name] = at
		r.members++
	case slices.Contains(m.holders, port):
		return true
	default:
		m.Info = who.Info
	}
	m.holders = append(m.holders, port)
	if !m.present {
		m.present = true
		at.present++
		r.present++
		r.changed(at, m)
	}
	return true
}

// Leave records that a worker has no subscription of a member any more.
func (r *Roster) Leave(port uint64, name, id string, now time.Duration) {
	if at := r.rooms[name]; at != nil && at.members[id] != nil {
		r.leave(at.members[id], port, now)
	}
}

func (r *Roster) leave(m *member, port uint64, now time.Duration) {
	i := slices.Index(m.holders, port)
	if i < 0 {
		return
	}
	m.holders = slices.Delete(m.holders, i, i+1)
	if len(m.holders) > 0 {
		return
	}
	m.holders, m.left = nil, now
	if !m.queued { // else it is looked at when that comes up
		m.queued = true
		r.leaving = append(r.leaving, departure{now, m})
	}
}

// Topics returns all topics that have members.
func (r *Roster) Topics() []string {
	list := make([]string, 0, len(r.rooms))
	for name := range r.rooms {
		list = append(list, name)
	}
	return list
}

// Detach records that a worker has no subscriptions in a topic any more.
func (r *Roster) Detach(port uint64, name string, now time.Duration) {
	if at := r.rooms[name]; at != nil {
		for _, m := range at.members {
			r.leave(m, port, now)
		}
	}
}

// Expire lets members leave whose grace has passed. It returns when to call it next; 0 is never.
func (r *Roster) Expire(now time.Duration) (next time.Duration) {
	for len(r.leaving) > 0 {
		d := r.leaving[0]
		if d.at+r.grace > now {
			return d.at + r.grace
		}
		r.leaving[0] = departure{}
		r.leaving = r.leaving[1:]
		switch {
		case len(d.holders) > 0:
			d.queued = false
		case d.left > d.at: // it was back meanwhile
			r.leaving = append(r.leaving, departure{d.left, d.member})
		default:
			d.queued, d.present = false, false
			d.room.present--
			r.present--
			r.changed(d.room, d.member)
		}
	}
	r.leaving = nil
	return 0
}

// forget removes a member that is not present.
func (r *Roster) forget(m *member) {
	if m.room.members[m.ID] != m {
		return
	}
	delete(m.room.members, m.ID)
	r.members--
	r.tidy(m.room)
}

// tidy removes a room that is not needed any more.
func (r *Roster) tidy(at *room) {
	if len(at.members) == 0 && !at.share.busy && !at.share.ready {
		delete(r.rooms, at.topic)
	}
}

// Room reports, once, that members were refused and there is room for a quarter of the limit now.
func (r *Roster) Room() bool {
	if r.full && r.members <= r.max-r.max/4 {
		r.full = false
		return true
	}
	return false
}

// List returns the number of members of a topic, and the members, by their IDs. None are listed if there are more than
// the rule lists.
func (r *Roster) List(name string) (count int, list []Member, truncated bool) {
	at := r.rooms[name]
	if at == nil {
		return 0, nil, false
	}
	if at.present > at.rule.MaxListed {
		return at.present, nil, true
	}
	for _, m := range at.members {
		if m.present {
			list = append(list, m.Member)
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return at.present, list, false
}

package topic

import (
	"iter"
	"maps"
)

// Table is a set of subscriptions. No operation depends on the size of a topic or on the number of topics: Subscribe
// and Unsubscribe take constant time, and Drop takes one step per subscription of the connection. New returns one.
//
// A connection with one subscription uses 32 bytes, plus up to a quarter for growth. The list of members is freed with
// its last member. Everything else stays at its maximum size.
type Table struct {
	// Changed, unless it is nil, is called when a topic gets its first member and when it loses its last one.
	Changed func(name string, exists bool)

	ids    map[string]uint32 // topic to its index in topics
	topics []topic
	unused []uint32 // free indexes in topics
	conns  []conn   // by connection
	subs   []sub    // subs[0] belongs to nobody, so that 0 can mean none
	free   uint32   // first free index in subs; the others follow by next
	count  int
	large  map[uint64]uint32 // by pair: the subscriptions of connections with more than few
}

// topic is a dense list of members. subs[k] is the subscription of members[k].
type topic struct {
	name    string
	members []uint32
	subs    []uint32
}

// conn is the list of a connection's subscriptions.
type conn struct{ first, count uint32 }

// sub is a subscription. Its connection is topics[topic].members[pos]; prev and next are other subscriptions of that
// connection.
type sub struct{ topic, pos, prev, next uint32 }

// pair is the key of a subscription in Table.large.
func pair(id, i uint32) uint64 { return uint64(id)<<32 | uint64(i) }

// few is the number of subscriptions of a connection up to which they are searched one by one. With more, they are
// found in a map, which would waste memory for all the connections with one topic.
const few = 16

// New returns an empty table.
func New() *Table {
	return &Table{ids: make(map[string]uint32), subs: make([]sub, 1), large: make(map[uint64]uint32)}
}

// Subscribe adds connection i to a topic and reports whether i is a new member. The table's slices grow to the largest
// i. The name is kept as long as the topic has members.
func (t *Table) Subscribe(name string, i uint32) (added bool) {
	id, ok := t.ids[name]
	if ok && t.find(id, i) != 0 {
		return false
	}
	if !ok {
		id = t.open(name)
	}
	for int(i) >= len(t.conns) {
		t.conns = append(t.conns, conn{})
	}
	tp, c := &t.topics[id], &t.conns[i]
	at := t.take()
	t.subs[at] = sub{topic: id, pos: uint32(len(tp.members)), next: c.first}
	t.subs[c.first].prev = at // if there is none, this is subs[0], which nobody reads
	tp.members = append(tp.members, i)
	tp.subs = append(tp.subs, at)
	c.first = at
	c.count++
	t.count++
	t.indexAdded(i, at)
	return true
}

// Unsubscribe removes connection i from a topic and reports whether it was a member.
func (t *Table) Unsubscribe(name string, i uint32) (removed bool) {
	id, ok := t.ids[name]
	if !ok {
		return false
	}
	at := t.find(id, i)
	if at == 0 {
		return false
	}
	t.indexRemoved(i, at)
	n, c := t.subs[at], &t.conns[i]
	if n.prev == 0 {
		c.first = n.next
	} else {
		t.subs[n.prev].next = n.next
	}
	t.subs[n.next].prev = n.prev
	c.count--
	t.leave(at)
	return true
}

// Drop removes all subscriptions of connection i. The number may be reused at once.
func (t *Table) Drop(i uint32) {
	if int(i) >= len(t.conns) {
		return
	}
	c := t.conns[i]
	t.conns[i] = conn{}
	for at := c.first; at != 0; {
		n := t.subs[at]
		if c.count > few {
			delete(t.large, pair(n.topic, i))
		}
		t.leave(at)
		at = n.next
	}
}

// Has reports whether connection i is a member of a topic.
func (t *Table) Has(name string, i uint32) bool {
	id, ok := t.ids[name]
	return ok && t.find(id, i) != 0
}

// Members returns the connections of a topic, each once, in no particular order. The slice belongs to the table and is
// valid until the next change: copy it to change the table while iterating.
func (t *Table) Members(name string) []uint32 {
	id, ok := t.ids[name]
	if !ok {
		return nil
	}
	return t.topics[id].members
}

// Topics returns the topics of connection i, in no particular order. The table must not change during the iteration.
func (t *Table) Topics(i uint32) iter.Seq[string] {
	return func(yield func(string) bool) {
		if int(i) >= len(t.conns) {
			return
		}
		for at := t.conns[i].first; at != 0; at = t.subs[at].next {
			if !yield(t.topics[t.subs[at].topic].name) {
				return
			}
		}
	}
}

// Names returns all topics, in no particular order. The table must not change during the iteration.
func (t *Table) Names() iter.Seq[string] { return maps.Keys(t.ids) }

// Count returns the number of topics of connection i.
func (t *Table) Count(i uint32) int {
	if int(i) >= len(t.conns) {
		return 0
	}
	return int(t.conns[i].count)
}

// Len returns the number of members of a topic.
func (t *Table) Len(name string) int { return len(t.Members(name)) }

// NumSubscriptions returns the number of pairs of a topic and a connection.
func (t *Table) NumSubscriptions() int { return t.count }

// open adds a topic.
func (t *Table) open(name string) uint32 {
	var id uint32
	if n := len(t.unused); n > 0 {
		id, t.unused = t.unused[n-1], t.unused[:n-1]
	} else {
		id = uint32(len(t.topics))
		t.topics = append(t.topics, topic{})
	}
	t.topics[id].name = name
	t.ids[name] = id
	t.tell(name, true)
	return id
}

// tell reports a topic that exists from now on, or no longer.
func (t *Table) tell(name string, exists bool) {
	if t.Changed != nil {
		t.Changed(name, exists)
	}
}

// take returns a free index in subs.
func (t *Table) take() uint32 {
	at := t.free
	if at == 0 {
		t.subs = append(t.subs, sub{})
		return uint32(len(t.subs) - 1)
	}
	t.free = t.subs[at].next
	return at
}

// find returns the subscription of connection i to a topic, or 0.
func (t *Table) find(id, i uint32) uint32 {
	if int(i) >= len(t.conns) {
		return 0
	}
	if t.conns[i].count > few {
		return t.large[pair(id, i)]
	}
	for at := t.conns[i].first; at != 0; at = t.subs[at].next {
		if t.subs[at].topic == id {
			return at
		}
	}
	return 0
}

// indexAdded updates Table.large after a subscription was added to connection i.
func (t *Table) indexAdded(i, at uint32) {
	switch c := t.conns[i]; {
	case c.count > few+1:
		t.large[pair(t.subs[at].topic, i)] = at
	case c.count == few+1: // it has just become large
		for at := c.first; at != 0; at = t.subs[at].next {
			t.large[pair(t.subs[at].topic, i)] = at
		}
	}
}

// indexRemoved updates Table.large before a subscription of connection i is removed.
func (t *Table) indexRemoved(i, at uint32) {
	switch c := t.conns[i]; {
	case c.count > few+1:
		delete(t.large, pair(t.subs[at].topic, i))
	case c.count == few+1: // it is about to become small
		for at := c.first; at != 0; at = t.subs[at].next {
			delete(t.large, pair(t.subs[at].topic, i))
		}
	}
}

// leave removes a subscription from the members of its topic and frees it: the last member moves into its place. A
// topic without members is removed.
func (t *Table) leave(at uint32) {
	n := t.subs[at]
	tp := &t.topics[n.topic]
	last := len(tp.members) - 1
	moved := tp.subs[last]
	tp.members[n.pos], tp.subs[n.pos] = tp.members[last], moved
	t.subs[moved].pos = n.pos
	tp.members, tp.subs = tp.members[:last], tp.subs[:last]
	t.subs[at] = sub{next: t.free}
	t.free = at
	t.count--
	if last == 0 {
		delete(t.ids, tp.name)
		t.tell(tp.name, false)
		*tp = topic{}
		t.unused = append(t.unused, n.topic)
	}
}

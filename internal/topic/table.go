package topic

import "iter"

// Table holds subscriptions. Subscribing costs a walk over the connection's own subscriptions, leaving a topic the same,
// dropping a connection a step for each of its subscriptions; none of them depends on the size of a topic.
type Table struct {
	ids    map[string]uint32 // topic to its index in topics
	topics []topic
	free   []uint32 // indexes in topics that are not in use
	subs   [][]sub  // by connection
	count  int
}

// topic is a dense list of members. back[k] is where members[k] has this topic among its own subscriptions.
type topic struct {
	name    string
	members []uint32
	back    []uint32
}

// sub is a subscription as its connection sees it: the connection is topics[topic].members[pos].
type sub struct{ topic, pos uint32 }

// New makes an empty table.
func New() *Table { return &Table{ids: make(map[string]uint32)} }

// Subscribe adds connection i to a topic and reports whether it was not in it.
func (t *Table) Subscribe(name string, i uint32) bool {
	id, ok := t.ids[name]
	if ok && t.find(id, i) >= 0 {
		return false
	}
	if !ok {
		id = t.open(name)
	}
	for int(i) >= len(t.subs) {
		t.subs = append(t.subs, nil)
	}
	tp := &t.topics[id]
	t.subs[i] = append(t.subs[i], sub{topic: id, pos: uint32(len(tp.members))})
	tp.members = append(tp.members, i)
	tp.back = append(tp.back, uint32(len(t.subs[i])-1))
	t.count++
	return true
}

// Unsubscribe takes connection i out of a topic and reports whether it was in it.
func (t *Table) Unsubscribe(name string, i uint32) bool {
	id, ok := t.ids[name]
	if !ok {
		return false
	}
	at := t.find(id, i)
	if at < 0 {
		return false
	}
	t.leave(t.subs[i][at])
	list := t.subs[i]
	last := len(list) - 1
	if at != last { // the last subscription moves into the gap
		list[at] = list[last]
		t.topics[list[at].topic].back[list[at].pos] = uint32(at)
	}
	t.subs[i] = list[:last]
	if last == 0 {
		t.subs[i] = nil
	}
	return true
}

// Drop forgets connection i.
func (t *Table) Drop(i uint32) {
	if int(i) >= len(t.subs) {
		return
	}
	for _, s := range t.subs[i] {
		t.leave(s)
	}
	t.subs[i] = nil
}

// Members are the connections of a topic, in no order. The slice is the table's own: it is valid until the next change.
func (t *Table) Members(name string) []uint32 {
	id, ok := t.ids[name]
	if !ok {
		return nil
	}
	return t.topics[id].members
}

// Topics are those of connection i, in no order. The table must not be changed meanwhile.
func (t *Table) Topics(i uint32) iter.Seq[string] {
	return func(yield func(string) bool) {
		if int(i) >= len(t.subs) {
			return
		}
		for _, s := range t.subs[i] {
			if !yield(t.topics[s.topic].name) {
				return
			}
		}
	}
}

// Count is the number of topics of connection i.
func (t *Table) Count(i uint32) int {
	if int(i) >= len(t.subs) {
		return 0
	}
	return len(t.subs[i])
}

// NumTopics is the number of topics that have members.
func (t *Table) NumTopics() int { return len(t.ids) }

// NumSubscriptions is the number of pairs of a topic and a connection.
func (t *Table) NumSubscriptions() int { return t.count }

// open makes a topic.
func (t *Table) open(name string) uint32 {
	var id uint32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
	} else {
		id = uint32(len(t.topics))
		t.topics = append(t.topics, topic{})
	}
	t.topics[id].name = name
	t.ids[name] = id
	return id
}

// find is the position of a topic among the subscriptions of connection i, or -1.
func (t *Table) find(id, i uint32) int {
	if int(i) >= len(t.subs) {
		return -1
	}
	for at, s := range t.subs[i] {
		if s.topic == id {
			return at
		}
	}
	return -1
}

// leave takes a connection out of a topic's members: the last member moves into the gap. A topic without members goes.
func (t *Table) leave(s sub) {
	tp := &t.topics[s.topic]
	last := len(tp.members) - 1
	if int(s.pos) != last {
		moved, at := tp.members[last], tp.back[last]
		tp.members[s.pos], tp.back[s.pos] = moved, at
		t.subs[moved][at].pos = s.pos
	}
	tp.members, tp.back = tp.members[:last], tp.back[:last]
	t.count--
	if last == 0 {
		delete(t.ids, tp.name)
		*tp = topic{}
		t.free = append(t.free, s.topic)
	}
}

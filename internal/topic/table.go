package topic

import "iter"

// Table holds subscriptions. No operation depends on the size of a topic or on the number of topics: subscribing and
// unsubscribing take constant time, dropping a connection a step for each of its subscriptions. Make one with New.
//
// A connection with one subscription costs 32 bytes, and up to a quarter more for room to grow. A topic's list of
// members goes with its last member; the rest keeps the room for the most that there was.
type Table struct {
	ids    map[string]uint32 // topic to its index in topics
	topics []topic
	unused []uint32 // indexes in topics that are not in use
	conns  []conn   // by connection
	nodes  []node   // subscriptions; 0 is nobody's, so that 0 can mean none
	free   uint32   // the first of the nodes that are not in use, joined by next
	count  int
	large  map[uint64]uint32 // by pair: the nodes of connections with more than few subscriptions
}

// topic is a dense list of members. nodes[k] is the subscription of members[k].
type topic struct {
	name    string
	members []uint32
	nodes   []uint32
}

// conn is the list of a connection's subscriptions.
type conn struct{ first, count uint32 }

// node is a subscription: its connection is topics[topic].members[pos], whose other subscriptions are prev and next.
type node struct{ topic, pos, prev, next uint32 }

// pair names a subscription.
func pair(id, i uint32) uint64 { return uint64(id)<<32 | uint64(i) }

// few is how many subscriptions of a connection are searched one by one. Above that, they are found in a map, which
// would be a waste of memory for all those with one topic.
const few = 16

// New makes an empty table.
func New() *Table {
	return &Table{ids: make(map[string]uint32), nodes: make([]node, 1), large: make(map[uint64]uint32)}
}

// Subscribe adds connection i to a topic and reports whether it was not in it. The table's arrays reach up to the
// largest i there was. The name is kept as long as the topic has members.
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
	t.nodes[at] = node{topic: id, pos: uint32(len(tp.members)), next: c.first}
	t.nodes[c.first].prev = at // of node 0, if there is none: nobody reads that
	tp.members = append(tp.members, i)
	tp.nodes = append(tp.nodes, at)
	c.first = at
	c.count++
	t.count++
	t.indexAdded(i, at)
	return true
}

// Unsubscribe takes connection i out of a topic and reports whether it was in it.
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
	n, c := t.nodes[at], &t.conns[i]
	if n.prev == 0 {
		c.first = n.next
	} else {
		t.nodes[n.prev].next = n.next
	}
	t.nodes[n.next].prev = n.prev
	c.count--
	t.leave(at)
	return true
}

// Drop forgets connection i. Its number may be used again at once.
func (t *Table) Drop(i uint32) {
	if int(i) >= len(t.conns) {
		return
	}
	c := t.conns[i]
	t.conns[i] = conn{}
	for at := c.first; at != 0; {
		n := t.nodes[at]
		if c.count > few {
			delete(t.large, pair(n.topic, i))
		}
		t.leave(at)
		at = n.next
	}
}

// Members are the connections of a topic, each once, in no order. The slice is the table's own: it is valid until the
// next change of the table, so who changes it while walking must copy first.
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
		if int(i) >= len(t.conns) {
			return
		}
		for at := t.conns[i].first; at != 0; at = t.nodes[at].next {
			if !yield(t.topics[t.nodes[at].topic].name) {
				return
			}
		}
	}
}

// Count is the number of topics of connection i.
func (t *Table) Count(i uint32) int {
	if int(i) >= len(t.conns) {
		return 0
	}
	return int(t.conns[i].count)
}

// Len is the number of connections of a topic.
func (t *Table) Len(name string) int { return len(t.Members(name)) }

// NumSubscriptions is the number of pairs of a topic and a connection.
func (t *Table) NumSubscriptions() int { return t.count }

// open makes a topic.
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
	return id
}

// take finds room for a node.
func (t *Table) take() uint32 {
	at := t.free
	if at == 0 {
		t.nodes = append(t.nodes, node{})
		return uint32(len(t.nodes) - 1)
	}
	t.free = t.nodes[at].next
	return at
}

// find is the node of connection i in a topic, or 0.
func (t *Table) find(id, i uint32) uint32 {
	if int(i) >= len(t.conns) {
		return 0
	}
	if t.conns[i].count > few {
		return t.large[pair(id, i)]
	}
	for at := t.conns[i].first; at != 0; at = t.nodes[at].next {
		if t.nodes[at].topic == id {
			return at
		}
	}
	return 0
}

// indexAdded keeps the map of large connections when node at has been added to connection i.
func (t *Table) indexAdded(i, at uint32) {
	switch c := t.conns[i]; {
	case c.count > few+1:
		t.large[pair(t.nodes[at].topic, i)] = at
	case c.count == few+1: // it has just become large
		for at := c.first; at != 0; at = t.nodes[at].next {
			t.large[pair(t.nodes[at].topic, i)] = at
		}
	}
}

// indexRemoved keeps the map of large connections when node at will be taken out of connection i.
func (t *Table) indexRemoved(i, at uint32) {
	switch c := t.conns[i]; {
	case c.count > few+1:
		delete(t.large, pair(t.nodes[at].topic, i))
	case c.count == few+1: // it is about to become small
		for at := c.first; at != 0; at = t.nodes[at].next {
			delete(t.large, pair(t.nodes[at].topic, i))
		}
	}
}

// leave takes a node out of its topic's members and frees it: the last member moves into the gap. A topic without
// members goes.
func (t *Table) leave(at uint32) {
	n := t.nodes[at]
	tp := &t.topics[n.topic]
	last := len(tp.members) - 1
	moved := tp.nodes[last]
	tp.members[n.pos], tp.nodes[n.pos] = tp.members[last], moved
	t.nodes[moved].pos = n.pos
	tp.members, tp.nodes = tp.members[:last], tp.nodes[:last]
	t.nodes[at] = node{next: t.free}
	t.free = at
	t.count--
	if last == 0 {
		delete(t.ids, tp.name)
		*tp = topic{}
		t.unused = append(t.unused, n.topic)
	}
}

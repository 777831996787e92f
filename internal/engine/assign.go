package engine

import "slices"

// Assignment subscribes connections to a topic, or ends their subscriptions, at its place among the publications.
type Assignment struct {
	Topic string
	Leave bool
	// One of these names the connections: the topic to which all of them are subscribed, one of them, or a function, which
	// is called for all. It must not call the engine.
	Of    string
	Conn  uint64
	Match func(c *Conn) bool
	// Except is the id of a connection that is left out; 0 is none.
	Except uint64
}

// maxAssigned is the most assignments that wait for a connection to open.
const maxAssigned = 256

// Assign carries out an assignment, with the number seq of its publication. MaxSubscriptions holds: subscriptions
// beyond it are counted, and not made. On the loop.
func (e *Engine) Assign(seq uint64, a *Assignment) {
	e.position = max(e.position, seq)
	if e.recording {
		e.topicsMu.Lock()
		e.remember(published{seq: seq, assignment: a})
		e.topicsMu.Unlock()
	}
	if a.Conn != 0 {
		if u := e.Opening(a.Conn); u != nil && a.Conn != a.Except {
			u.assign(a)
			return
		}
	}
	for _, c := range e.assigned(a) {
		if len(e.ahead) == 0 || e.ahead[c.key.Index] < seq { // else it had that where it came from
			c.assign(a)
		}
	}
}

// assigned returns the connections that an assignment names.
func (e *Engine) assigned(a *Assignment) (list []*Conn) {
	add := func(c *Conn) {
		if c != nil && c.id != 0 && c.id != a.Except {
			list = append(list, c)
		}
	}
	switch {
	case a.Conn != 0:
		add(e.Lookup(a.Conn))
	case a.Of != "":
		e.topicsMu.Lock()
		defer e.topicsMu.Unlock()
		for _, i := range e.topics.Members(a.Of) {
			add(e.conns[i])
		}
	default:
		for _, c := range e.conns {
			if c != nil && c.phase.Load() == phaseOpen && a.Match(c) {
				add(c)
			}
		}
	}
	return list
}

// concerns reports whether an assignment names a connection with these topics.
func (a *Assignment) concerns(c *Conn, topics []string) bool {
	switch {
	case c.id == a.Except:
		return false
	case a.Conn != 0:
		return a.Conn == c.id
	case a.Of != "":
		return slices.Contains(topics, a.Of)
	default:
		return a.Match(c)
	}
}

// assign subscribes c, or ends its subscription. A connection that is ending, or has moved, is left alone.
func (c *Conn) assign(a *Assignment) {
	if a.Leave {
		c.Unsubscribe(a.Topic)
		return
	}
	_, _ = c.Subscribe(a.Topic) // what is refused is counted
}

// catchUpAssignment carries out an assignment that c has missed while it moved, and returns its topics after that.
func (c *Conn) catchUpAssignment(a *Assignment, topics []string) []string {
	if !a.concerns(c, topics) {
		return topics
	}
	if a.Leave {
		c.assign(a)
		return slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return topic == a.Topic })
	}
	if _, err := c.Subscribe(a.Topic); err == nil && !slices.Contains(topics, a.Topic) {
		return append(slices.Clip(topics), a.Topic)
	}
	return topics
}

// assign carries out an assignment as soon as the connection is open. If there are too many, it is dropped and counted.
// On the loop.
func (u *Upgrade) assign(a *Assignment) {
	if len(u.held.assigned) >= maxAssigned {
		u.Conn.eng.count.limit(limitHeld)
		return
	}
	u.held.assigned = append(u.held.assigned, a)
}

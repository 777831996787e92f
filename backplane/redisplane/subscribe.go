package redisplane

import "sync"

// topicState is what a server knows of a topic.
type topicState uint8

const (
	idle          topicState = iota // there is no subscription
	subscribing                     // asked for, not confirmed yet
	subscribed                      // confirmed
	unsubscribing                   // its end was asked for, and not confirmed yet
)

// topic is a topic that is wanted, or whose subscription has not ended yet.
type topic struct {
	name   string
	node   *node // the one that state refers to
	state  topicState
	wanted bool
	told   bool // Listening was the latest call for it
	queued bool // in node.changes
}

// subscriber has the topics of a shard. There is at most one command for a topic under way: its answer is the next for
// this topic. When it comes, the topic is looked at again.
type subscriber struct {
	shard *shard

	mu      sync.Mutex
	layout  *layout
	topics  map[string]*topic
	refused error // why a server does not permit a subscription
}

// home returns the node that a topic belongs to.
func (s *subscriber) home(t *topic) *node {
	if s.layout.slots == nil {
		return s.layout.nodes[0]
	}
	return s.layout.node(s.shard.prefix + t.name)
}

// want changes whether topics are wanted.
func (s *subscriber) want(names []string, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		t := s.topics[name]
		switch {
		case t == nil && wanted && len(name) <= maxTopic:
			t = &topic{name: name}
			t.node = s.home(t)
			s.topics[name] = t
		case t == nil || t.wanted == wanted:
			continue
		case !wanted && t.state == idle:
			delete(s.topics, name)
			t.wanted = false
			continue
		}
		t.wanted, t.told = wanted, false
		s.look(t)
	}
}

// look lets the node of a topic look at it. A node that is not connected looks at all topics when it is.
func (s *subscriber) look(t *topic) {
	if n := t.node; n.live && !t.queued {
		t.queued = true
		n.changes = append(n.changes, t)
		wake(n.wakeListen)
	}
}

// settle looks at a topic without a subscription.
func (s *subscriber) settle(t *topic) {
	if !t.wanted {
		delete(s.topics, t.name)
		return
	}
	if home := s.home(t); t.node != home {
		t.node, t.queued = home, false // in the list of its former node, which ignores it
	}
	s.look(t)
}

// use replaces the layout.
func (s *subscriber) use(l *layout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layout = l
	for _, t := range s.topics {
		switch {
		case t.node == s.home(t):
		case t.state == idle:
			s.settle(t)
		default:
			s.look(t)
		}
	}
}

// connected lets a node look at its topics.
func (s *subscriber) connected(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.live = true
	for _, t := range s.topics {
		if t.node == n {
			s.look(t)
		}
	}
}

// lost records that the connection of a node is lost, with all subscriptions.
func (s *subscriber) lost(n *node, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.live, n.changes = false, nil
	var missing []string
	for _, t := range s.topics {
		if t.node != n {
			continue
		}
		t.state, t.queued = idle, false
		if t.told {
			t.told = false
			missing = append(missing, t.name)
		}
		s.settle(t)
	}
	s.shard.feed.missing(missing, err)
}

// take returns the topics of a node to subscribe to and to unsubscribe from, up to a number of changes.
func (s *subscriber) take(n *node, most int) (subscribe, unsubscribe []*topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := min(len(n.changes), most)
	for _, t := range n.changes[:k] {
		if t.node != n || !t.queued {
			continue // it has moved
		}
		t.queued = false
		at := s.home(t) == n
		switch {
		case s.topics[t.name] != t: // deleted meanwhile
		case t.state == idle && (!t.wanted || !at):
			s.settle(t)
		case t.state == idle:
			t.state = subscribing
			subscribe = append(subscribe, t)
		case t.state == subscribed && t.wanted && at:
			s.tell(t)
		case t.state == subscribed:
			if t.told {
				t.told = false
				s.shard.feed.missing([]string{t.name}, errMoved)
			}
			t.state = unsubscribing
			unsubscribe = append(unsubscribe, t)
		}
	}
	if n.changes = n.changes[k:]; len(n.changes) == 0 {
		n.changes = nil
	} else {
		wake(n.wakeListen)
	}
	return subscribe, unsubscribe
}

// tell reports a subscription to the Receiver, once.
func (s *subscriber) tell(t *topic) {
	if !t.told {
		t.told = true
		s.shard.feed.listening(t.name)
	}
}

// confirm takes an answer of a node to a command. It reports false if the node has ended a subscription by itself.
func (s *subscriber) confirm(n *node, name string, begins bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil || t.node != n {
		return true
	}
	switch {
	case begins && t.state == subscribing:
		if t.state = subscribed; t.wanted && s.home(t) == n {
			s.tell(t)
		} else {
			s.look(t)
		}
	case !begins && t.state == unsubscribing:
		t.state = idle
		s.settle(t)
	case !begins && t.state == subscribed:
		t.state = idle
		if t.told {
			t.told = false
			s.shard.feed.missing([]string{name}, errUnsubscribed)
		}
		s.settle(t)
		return false
	}
	return true
}

// failed records that commands for topics have failed, all of which are looked at again by retry.
func (s *subscriber) failed(n *node, list []*topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range list {
		if t.node == n && (t.state == subscribing || t.state == unsubscribing) {
			if t.state = idle; !t.wanted {
				s.settle(t)
			}
		}
	}
}

// retry looks again at topics that have failed.
func (s *subscriber) retry(n *node, list []*topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range list {
		if t.node == n && t.state == idle && s.topics[t.name] == t {
			s.look(t)
		}
	}
}

// setRefusal records why a node does not permit subscriptions, or that it does.
func (s *subscriber) setRefusal(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
}

func (s *subscriber) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

package presence

import (
	"sync"

	"github.com/expedite-go/expedite/internal/broker"
)

const (
	// countsBatch is the size of a message to the hub, in bytes, from which on it gets no further changes.
	countsBatch = 32 << 10
	// countsTurn is the number of changes that one call of Flush sends.
	countsTurn = 4096
)

// Counts has the members of topics in a worker: those with a subscription. It tells the hub who comes and goes. What
// changes back and forth in a short time costs nothing. It is safe for concurrent use.
type Counts struct {
	link broker.Link
	soon func()
	info func(topic string, owner any) string

	flushing sync.Mutex
	mu       sync.Mutex
	members  map[place]*count
	changed  map[place]struct{}
	asked    bool // the hub wants to know
	tell     bool // it has to be told when it knows everything
	called   bool // soon was called, and Flush not since
}

// place is a member in a topic.
type place struct{ topic, id string }

// count is the number of subscriptions of a member.
type count struct {
	n     int
	owner any // of the first subscription, until its info is known
	info  string
}

// NewCounts returns Counts over a link to the hub. soon must have Flush called a little later; it is called without a
// lock of the Counts, perhaps with locks of the caller of Set. info returns the Info of a member by the owner of one of
// its connections. Flush calls it.
func NewCounts(link broker.Link, soon func(), info func(topic string, owner any) string) *Counts {
	return &Counts{
		link: link, soon: soon, info: info, members: make(map[place]*count), changed: make(map[place]struct{}),
	}
}

// Set records that a member has a subscription more, or less.
func (c *Counts) Set(topic, id string, owner any, subscribed bool) {
	c.mu.Lock()
	at := place{topic, id}
	known := c.members[at]
	switch {
	case subscribed && known != nil:
		known.n++
		c.mu.Unlock()
		return
	case subscribed:
		c.members[at] = &count{n: 1, owner: owner}
	case known == nil:
		c.mu.Unlock()
		return
	case known.n > 1:
		known.n--
		c.mu.Unlock()
		return
	default:
		delete(c.members, at)
	}
	call := false
	if c.asked {
		c.changed[at] = struct{}{}
		call = !c.called
		c.called = true
	}
	c.mu.Unlock()
	if call {
		c.soon()
	}
}

// TellAll tells a hub that asks for everything, and then that this was everything.
func (c *Counts) TellAll() {
	c.mu.Lock()
	c.asked, c.tell, c.called = true, true, true
	for at := range c.members {
		c.changed[at] = struct{}{}
	}
	c.mu.Unlock()
	c.soon()
}

// Flush sends what has changed. What the link does not take waits for the next call: call it regularly, too.
func (c *Counts) Flush() {
	c.flushing.Lock() // or an older change could overtake a newer one
	defer c.flushing.Unlock()
	list, more := c.due()
	var b []byte
	var batch []place
	for i, at := range list {
		b, batch = c.append(b, at), append(batch, at)
		if len(b) < countsBatch && i < len(list)-1 {
			continue
		}
		if c.link.Send(b) != nil {
			c.again(append(batch, list[i+1:]...))
			return
		}
		b, batch = b[:0], batch[:0]
	}
	switch {
	case more:
		c.soon()
	case c.complete():
		if c.link.Send(broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Told})) != nil {
			c.mu.Lock()
			c.tell = true
			c.mu.Unlock()
		}
	}
}

// due takes changes to be sent, and reports whether there are more.
func (c *Counts) due() (list []place, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.changed {
		if len(list) == countsTurn {
			break
		}
		list = append(list, at)
	}
	for _, at := range list {
		delete(c.changed, at)
	}
	more = len(c.changed) > 0
	if c.called = more; !more {
		c.changed = make(map[place]struct{}) // a map never shrinks
	}
	return list, more
}

// again puts changes back that the link did not take.
func (c *Counts) again(list []place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range list {
		c.changed[at] = struct{}{}
	}
}

// complete reports, once, that everything was sent to a hub that has asked for it.
func (c *Counts) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := c.tell && len(c.changed) == 0
	if done {
		c.tell = false
	}
	return done
}

// append appends the state of now of a member in a topic.
func (c *Counts) append(b []byte, at place) []byte {
	c.mu.Lock()
	known := c.members[at]
	var owner any
	if known != nil {
		owner = known.owner
	}
	c.mu.Unlock()
	if known == nil {
		return broker.AppendEnvelope(b, broker.Envelope{Kind: broker.Leave, Topic: at.topic, Payload: []byte(at.id)})
	}
	if owner != nil {
		info := c.info(at.topic, owner) // code of the application
		info = info[:min(len(info), MaxInfo)]
		c.mu.Lock()
		known.owner, known.info = nil, info
		c.mu.Unlock()
	}
	m := Member{at.id, known.info} // only Flush sets it
	return broker.AppendEnvelope(b, broker.Envelope{Kind: broker.Enter, Topic: at.topic, Payload: m.append(nil)})
}

// Len returns the number of pairs of a topic and a member.
func (c *Counts) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

package broker

import (
	"iter"
	"maps"
	"sync"
)

// interestBatch is the size of a message with topics, in bytes, from which on it gets no further ones.
const interestBatch = 32 << 10

// Interest tells the Hub which topics have subscribers in this worker. Topics that change back and forth in a short
// time cost nothing. It is safe for concurrent use.
type Interest struct {
	link Link
	soon func() // has Flush called soon

	mu      sync.Mutex
	changed map[string]bool // by topic: whether it has subscribers
	asked   bool            // soon was called, and Flush not since
}

// NewInterest returns an Interest over a link to the Hub. soon is called without a lock of the Interest, perhaps with
// locks of the caller of Set: it must have Flush called a little later, on another goroutine or on the loop.
func NewInterest(link Link, soon func()) *Interest {
	return &Interest{link: link, soon: soon, changed: make(map[string]bool)}
}

// Set records that a topic has subscribers here from now on, or none.
func (i *Interest) Set(topic string, wanted bool) {
	i.mu.Lock()
	i.changed[topic] = wanted
	first := !i.asked
	i.asked = true
	i.mu.Unlock()
	if first {
		i.soon()
	}
}

// SetAll records topics that have subscribers here: all of them, for a Hub that asks.
func (i *Interest) SetAll(topics iter.Seq[string]) {
	for topic := range topics {
		i.Set(topic, true)
	}
}

// Flush sends what has changed. What the link does not take waits for the next call: call it regularly, too.
func (i *Interest) Flush() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = false
	var b []byte
	var names []string
	send := func() bool {
		if len(b) > 0 && i.link.Send(b) != nil {
			return false
		}
		for _, name := range names {
			delete(i.changed, name)
		}
		b, names = b[:0], names[:0]
		return true
	}
	for topic, wanted := range maps.All(i.changed) {
		kind := Unwant
		if wanted {
			kind = Want
		}
		b, names = AppendEnvelope(b, Envelope{Kind: kind, Topic: topic}), append(names, topic)
		if len(b) >= interestBatch && !send() {
			return
		}
	}
	if send() {
		i.changed = make(map[string]bool) // a map never shrinks
	}
}

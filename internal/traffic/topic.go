package traffic

import (
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/ws"
)

// topic is what its publisher and its subscribers know.
type topic struct {
	name      string
	publisher uint32
	sent      atomic.Uint64
}

// listener is a client on a topic: the publisher, or a subscriber.
type listener struct {
	topic *topic
	as    string // what the server sees of it

	mu  sync.Mutex
	seq sequence // of a subscriber it begins with the first number heard
}

func (l *listener) target() string {
	return pathTopic + "?" + url.Values{"as": {l.as}, "topic": {l.topic.name}}.Encode()
}

func (l *listener) play(c *client) error {
	for c.sender == l.topic.publisher && c.rest() {
		body := c.run.corpus.body(c.rng, ws.OpText, c.rng.IntN(maxShort+1))
		m := newMessage(ws.OpText, c.sender, l.topic.sent.Add(1), body)
		if err := c.send(ws.OpText, m.whole(nil), cut{}); err != nil {
			return err
		}
	}
	return nil
}

func (l *listener) hear(c *client, a *arrival) {
	sender, n, err := a.open()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		c.bad("%v", err)
	case sender != l.topic.publisher:
		c.bad("broadcast of client %d, want those of %d", sender, l.topic.publisher)
	case n > l.topic.sent.Load():
		c.bad("broadcast %d, published are %d", n, l.topic.sent.Load())
	case c.take(&l.seq, n):
		c.run.tally.broadcasts.Add(1)
	}
}

func (l *listener) owed() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq.owed(l.topic.sent.Load()), l.seq.complete(l.topic.sent.Load())
}

var _ player = (*listener)(nil)

package traffic

import (
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/ws"
)

// topic is the state shared by a publisher and its subscribers.
type topic struct {
	name      string
	publisher uint32
	sent      atomic.Uint64
}

// listener is a client on a topic, either its publisher or a subscriber.
type listener struct {
	topic *topic
	as    string // role, sent in the query so that the server and the proxy can tell clients apart

	mu  sync.Mutex
	seq sequence // a subscriber's sequence begins with the first number received
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

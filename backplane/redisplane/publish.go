package redisplane

import (
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// A batch is what is sent at once. Its limits are also those of what is sent again after a loss.
	batchMessages, batchBytes = 8192, 1 << 20
	// A server can be configured to end the connection at a message of at least largeMessage bytes, often without an
	// answer. After maxKills losses in a row, such a message is dropped: all others would wait for ever.
	largeMessage, maxKills = 1<<20 - 4096, 5
)

// message is a message that waits.
type message struct {
	channel, payload string
	tried            bool // a server may have taken it
}

func (m *message) size() int { return len(m.channel) + len(m.payload) }

// queue is what waits for a server, including what is being sent.
type queue struct {
	list, spare     []message
	bytes, messages int
}

// publisher has the queues of a shard. Messages of one channel are in one queue, in order.
type publisher struct {
	maxBytes, maxMessages int

	mu      sync.Mutex
	layout  *layout
	next    *layout // waits for the end of all batches, as it can move what follows a message in a batch
	busy    int     // batches that are being sent
	counts  backplane.Status
	dropErr error
	dropAt  time.Time
}

// publish queues a message for the server of its channel.
func (p *publisher) publish(channel string, payload []byte) error {
	m := message{channel: channel, payload: string(payload)}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.layout.node(channel)
	q := &n.queue
	if q.messages > 0 && (q.bytes+m.size() > p.maxBytes || q.messages >= p.maxMessages) {
		return backplane.ErrOverloaded
	}
	q.list = append(q.list, m)
	q.bytes += m.size()
	q.messages++
	p.counts.Published++
	if len(q.list) == 1 {
		wake(n.wakeSend)
	}
	return nil
}

// take returns the next batch of a node. done must follow.
func (p *publisher) take(n *node) []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &n.queue
	if p.next != nil || len(q.list) == 0 {
		return nil
	}
	p.busy++
	size, k := 0, 0
	for k < min(len(q.list), batchMessages) {
		size += q.list[k].size()
		if k > 0 && size > batchBytes {
			break
		}
		k++
	}
	for i := range q.list[:k] {
		if q.list[i].tried {
			p.counts.Repeated++
		}
	}
	if k == len(q.list) {
		batch := q.list
		q.list, q.spare = q.spare, nil
		return batch
	}
	batch := append(q.spare, q.list[:k]...)
	q.list, q.spare = slices.Delete(q.list, 0, k), nil
	return batch
}

// done ends a batch, of which some messages have to be sent again.
func (p *publisher) done(n *node, batch, again []message, dropped int, dropErr error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &n.queue
	for i := range batch {
		q.bytes -= batch[i].size()
	}
	for i := range again {
		q.bytes += again[i].size()
	}
	q.messages -= len(batch) - len(again)
	if len(again) > 0 {
		q.list = append(again, q.list...)
	}
	clear(batch)
	if q.spare = batch[:0]; cap(batch) > 2*batchMessages {
		q.spare = nil
	}
	if dropped > 0 {
		p.counts.Dropped += uint64(dropped)
		p.dropErr, p.dropAt = dropErr, time.Now()
	}
	p.busy--
	p.settle()
}

// use replaces the layout, at the end of all batches.
func (p *publisher) use(l *layout) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = l
	p.settle()
}

// settle moves everything that waits to where it belongs now.
func (p *publisher) settle() {
	if p.next == nil || p.busy > 0 {
		return
	}
	var all []message // those of one channel were in one queue, so they stay in order
	for _, n := range p.layout.nodes {
		all = append(all, n.queue.list...)
		n.queue = queue{}
	}
	p.layout, p.next = p.next, nil
	for _, m := range all {
		q := &p.layout.node(m.channel).queue
		q.list = append(q.list, m)
		q.bytes += m.size()
		q.messages++
	}
	for _, n := range p.layout.nodes {
		wake(n.wakeSend)
	}
}

// status returns the counters. Err is why a message was dropped.
func (p *publisher) status() backplane.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	for _, n := range p.layout.nodes {
		s.Queued += int64(n.queue.bytes)
	}
	if p.dropErr != nil && time.Since(p.dropAt) < dropShown {
		s.Err = p.dropErr
	}
	return s
}

// outcome is what has become of a batch.
type outcome struct {
	again   []message
	dropped int
	dropErr error
	err     error  // why messages have to be sent again
	moved   string // where the server of one of them is
	lost    bool   // the connection is of no use any more
}

// judge tells from the answers what has become of a batch. What follows a message that failed, on the same channel, is
// sent again as well, to keep their order.
func judge(batch []message, results []rueidis.RedisResult) (o outcome) {
	var failed map[string]bool
	for i, r := range results {
		err := r.Error()
		m := batch[i]
		switch {
		case err == nil && !failed[m.channel]:
			continue
		case err != nil && hopeless(err):
			o.dropped++
			o.dropErr = explain(err)
			continue
		case err == nil:
			m.tried = true
		default:
			o.err = explain(err)
			if addr := movedTo(err); addr != "" {
				o.moved = addr
			}
			if reply(err) == "" {
				o.lost, m.tried = true, true
			}
		}
		if failed == nil {
			failed = make(map[string]bool)
		}
		failed[m.channel] = true
		o.again = append(o.again, m)
	}
	return o
}

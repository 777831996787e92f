package redisplane

import (
	"slices"
	"sync"
	"time"

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
	at               time.Time  // when it was published
	tried            bool       // a server may have taken it
	call             *appending // nil if it is not kept
}

func (m *message) size() int { return len(m.channel) + len(m.payload) }

// queue is what waits for a server, including what is being sent.
type queue struct {
	list, spare     []message
	bytes, messages int
	// parked is what the server does not take for now, whereas it takes other messages: see outcome. All messages of its
	// channels are there.
	parked  []message
	on      map[string]struct{} // those channels
	sending time.Time           // when the first message of the batch that is being sent was published; zero: none is
}

// oldest returns when the message was published that has waited for longest; zero: there is none.
func (q *queue) oldest() (at time.Time) {
	at = q.sending
	for _, list := range [][]message{q.list, q.parked} {
		if len(list) > 0 && (at.IsZero() || list[0].at.Before(at)) {
			at = list[0].at
		}
	}
	return at
}

// publisher has the queues of a shard. Messages of one channel are in one queue, in order.
type publisher struct {
	maxBytes, maxMessages int

	mu      sync.Mutex
	layout  *layout
	next    *layout // waits for the end of all batches, as it can move what follows a message in a batch
	busy    int     // batches that are being sent
	ledger  ledger
	counts  backplane.Status
	dropErr error
	dropAt  time.Time
}

// publish queues a message for the server of its channel.
func (p *publisher) publish(m message) error {
	m.at = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.layout.node(m.channel)
	q := &n.queue
	if q.messages > 0 && (q.bytes+m.size() > p.maxBytes || q.messages >= p.maxMessages) {
		return backplane.ErrOverloaded
	}
	q.bytes += m.size()
	q.messages++
	p.counts.Published++
	if _, parked := q.on[m.channel]; parked {
		q.parked = append(q.parked, m)
		return nil
	}
	q.list = append(q.list, m)
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
	q.sending = q.list[0].at
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

// empty reports whether nothing waits for a node.
func (p *publisher) empty(n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return n.queue.messages == 0
}

// done ends a batch.
func (p *publisher) done(n *node, batch []message, o *outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &n.queue
	for i := range batch {
		q.bytes -= batch[i].size()
	}
	for _, left := range [][]message{o.again, o.parked} {
		for i := range left {
			q.bytes += left[i].size()
		}
	}
	q.messages -= len(batch) - len(o.again) - len(o.parked)
	if len(o.again) > 0 {
		q.list = append(o.again, q.list...)
	}
	q.park(o.parked)
	clear(batch)
	if q.spare = batch[:0]; cap(batch) > 2*batchMessages {
		q.spare = nil
	}
	if o.dropped > 0 {
		p.counts.Dropped += uint64(o.dropped)
		p.dropErr, p.dropAt = o.dropErr, time.Now()
	}
	p.note(n, o)
	q.sending = time.Time{}
	p.busy--
	p.settle()
}

// park sets messages aside, with all that follow on their channels.
func (q *queue) park(list []message) {
	if len(list) == 0 {
		return
	}
	if q.on == nil {
		q.on = make(map[string]struct{})
	}
	for _, m := range list {
		q.on[m.channel] = struct{}{}
	}
	q.parked = append(q.parked, list...)
	left := q.list[:0]
	for _, m := range q.list {
		if _, parked := q.on[m.channel]; parked {
			q.parked = append(q.parked, m)
		} else {
			left = append(left, m)
		}
	}
	clear(q.list[len(left):])
	q.list = left
}

// unpark has messages sent that were set aside.
func (p *publisher) unpark(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &n.queue
	if len(q.parked) == 0 {
		return
	}
	q.list = append(q.parked, q.list...)
	q.parked, q.on = nil, nil
	wake(n.wakeSend)
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
		all = append(append(all, n.queue.parked...), n.queue.list...)
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
		if at := n.queue.oldest(); !at.IsZero() {
			s.Waiting = max(s.Waiting, time.Since(at))
		}
	}
	if p.dropErr != nil && time.Since(p.dropAt) < dropShown {
		s.Err = p.dropErr
	}
	return s
}

package cluster

import (
	"context"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/spool"
)

// outlets are the queues in front of the writers that receive the output of workers. A writer that blocks delays
// neither this process nor the workers: output that does not fit its queue is dropped.
type outlets struct {
	limit int // of each queue, in bytes

	mu   sync.Mutex
	list []outlet
}

// outlet is the queue of a writer.
type outlet struct {
	to io.Writer // nil: the queue is shared by all writers whose types cannot be compared
	q  *spool.Queue
}

// writer returns a writer that puts the output of one process into the queue of another writer.
func (o *outlets) writer(to io.Writer) io.Writer {
	if to == io.Discard {
		return to
	}
	return spool.NewWriter(to, o.queue(to))
}

func (o *outlets) queue(to io.Writer) *spool.Queue {
	if !reflect.ValueOf(to).Comparable() {
		to = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.list {
		if known.to == to {
			return known.q
		}
	}
	q := spool.New(o.limit)
	o.list = append(o.list, outlet{to, q})
	return q
}

// queues returns all queues.
func (o *outlets) queues() (list []*spool.Queue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.list {
		list = append(list, known.q)
	}
	return list
}

// lost returns the number of bytes that were dropped.
func (o *outlets) lost() (n uint64) {
	for _, q := range o.queues() {
		n += q.Lost()
	}
	return n
}

// flush waits until the queues are empty, at most for limit.
func flush(limit time.Duration, queues ...*spool.Queue) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, q := range queues {
		_ = q.Flush(ctx) // the rest is written later, or dropped
	}
}

package storeguard

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// writeOverhead is what the queue counts for a write, in addition to its keys and values.
const writeOverhead = 128

var errQueueFull = errors.New("session: too many writes wait for the store")

// write is one Save that waits. Its changes are never modified.
type write struct {
	id      session.ID
	changes session.Changes
	size    int
	number  uint64
	carried bool // another Guard may have it already
}

// writeQueue holds writes until the main store can receive them, in their order. It is safe for concurrent use.
type writeQueue struct {
	limit int // of bytes

	mu                          sync.Mutex
	list                        []write // the oldest first; one that is being replayed is still in it
	bytes                       int
	number                      uint64             // of the latest write
	waiting                     map[session.ID]int // the number of writes of each session
	deferred, refused, replayed uint64
}

func newWriteQueue(limit int) *writeQueue {
	return &writeQueue{limit: limit, waiting: make(map[session.ID]int)}
}

// put adds a copy of a write. It returns session.ErrDeferred, or session.ErrUnavailable with the cause of the outage if
// the queue is full.
func (q *writeQueue) put(id session.ID, changes session.Changes, cause error) error {
	own := make(session.Changes, len(changes))
	for k, v := range changes {
		if v != nil {
			v = append([]byte{}, v...)
		}
		own[k] = v
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+writeOverhead+sessionwire.Size(own) > q.limit {
		q.refused++
		if cause != nil {
			return session.Unavailable(fmt.Errorf("%w, which is away: %w", errQueueFull, cause))
		}
		return session.Unavailable(errQueueFull)
	}
	q.add(id, own)
	q.deferred++
	return session.ErrDeferred
}

// adopt adds a write that was carried here, even if the queue is full.
func (q *writeQueue) adopt(id session.ID, changes session.Changes) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(id, changes)
}

// add adds a write. q.mu is held.
func (q *writeQueue) add(id session.ID, changes session.Changes) {
	size := writeOverhead + sessionwire.Size(changes)
	q.number++
	q.list = append(q.list, write{id: id, changes: changes, size: size, number: q.number})
	q.bytes += size
	q.waiting[id]++
}

// removed updates the figures for a write that has left the list. q.mu is held.
func (q *writeQueue) removed(w write) {
	q.bytes -= w.size
	if q.waiting[w.id]--; q.waiting[w.id] == 0 {
		delete(q.waiting, w.id)
	}
}

// oldest returns the write that is replayed next.
func (q *writeQueue) oldest() (w write, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.list = nil
		return w, false
	}
	return q.list[0], true
}

// finish removes the oldest write after the main store has answered. Err is the answer.
func (q *writeQueue) finish(w write, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) > 0 && q.list[0].number == w.number { // otherwise it was released meanwhile
		q.list[0] = write{}
		q.list = q.list[1:]
		q.removed(w)
	}
	if err == nil {
		q.replayed++
	} else {
		q.refused++
	}
}

// has reports whether writes of a session wait, which later ones must not overtake.
func (q *writeQueue) has(id session.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[id] > 0
}

// of returns the writes of a session, the oldest first.
func (q *writeQueue) of(id session.ID) (list []session.Changes) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[id] == 0 {
		return nil
	}
	for _, w := range q.list {
		if w.id == id {
			list = append(list, w.changes)
		}
	}
	return list
}

// carry returns the writes of a session, and marks them for release.
func (q *writeQueue) carry(id session.ID) (list []session.Changes) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[id] == 0 {
		return nil
	}
	for i := range q.list {
		if w := &q.list[i]; w.id == id {
			w.carried = true
			list = append(list, w.changes)
		}
	}
	return list
}

// release removes the writes of a session that were carried.
func (q *writeQueue) release(id session.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[id] == 0 {
		return
	}
	q.list = slices.DeleteFunc(q.list, func(w write) bool {
		gone := w.id == id && w.carried
		if gone {
			q.removed(w)
		}
		return gone
	})
}

func (q *writeQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}

func (q *writeQueue) addTo(s *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Deferred, s.Replayed, s.Waiting = q.deferred, q.replayed, q.bytes
	s.Refused += q.refused
}

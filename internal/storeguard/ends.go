package storeguard

import (
	"sync"

	"github.com/expedite-go/expedite/session"
)

// maxEnds is the number of ends of connections that wait for the main store.
const maxEnds = 64 << 10

// endQueue records the ends of connections until the main store can learn of them. It is safe for concurrent use.
type endQueue struct {
	mu   sync.Mutex
	refs map[session.ID]session.Ref // the latest end of each session
	lost uint64
}

func newEndQueue() *endQueue { return &endQueue{refs: make(map[session.ID]session.Ref)} }

// add records ends, as many as there is room for.
func (q *endQueue) add(refs []session.Ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, ref := range refs {
		if _, known := q.refs[ref.ID]; !known && len(q.refs) >= maxEnds {
			q.lost++
			continue
		}
		q.refs[ref.ID] = ref
	}
}

// batch returns some of the ends.
func (q *endQueue) batch() []session.Ref {
	q.mu.Lock()
	defer q.mu.Unlock()
	refs := make([]session.Ref, 0, min(len(q.refs), session.MaxBatch))
	for _, ref := range q.refs {
		if len(refs) == cap(refs) {
			break
		}
		refs = append(refs, ref)
	}
	return refs
}

// finish removes ends after the main store has answered. Err is the answer.
func (q *endQueue) finish(refs []session.Ref, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, ref := range refs {
		if q.refs[ref.ID] == ref { // otherwise there is a later end
			delete(q.refs, ref.ID)
		}
	}
	if err != nil {
		q.lost += uint64(len(refs))
	}
}

func (q *endQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.refs)
}

func (q *endQueue) addTo(s *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.DetachLost = q.lost
}

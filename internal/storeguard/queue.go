package storeguard

import (
	"errors"
	"fmt"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

const (
	// maxEnded is how many ends of connections wait for the main store.
	maxEnded = 64 << 10
	// writeBytes is what a write counts for in the queue, beside its values.
	writeBytes = 128
)

// deferred is a write that waits.
type deferred struct {
	id      session.ID
	changes session.Changes
	size    int
	number  uint64
	carried bool // another Guard may have it already
}

var errQueueFull = errors.New("session: too many writes wait for the store")

// put queues a write.
func (g *Guard) put(id session.ID, changes session.Changes) error {
	size := writeBytes + sessionwire.Size(changes)
	own := make(session.Changes, len(changes))
	for k, v := range changes {
		if v != nil {
			v = append([]byte{}, v...)
		}
		own[k] = v
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queued+size > g.limit {
		g.count.Refused++
		return session.Unavailable(g.causeLocked())
	}
	g.putLocked(id, own)
	g.count.Deferred++
	g.lookLocked()
	return session.ErrDeferred
}

// putLocked queues a write, which nobody else has, in any case. With g.mu held.
func (g *Guard) putLocked(id session.ID, changes session.Changes) {
	size := writeBytes + sessionwire.Size(changes)
	g.number++
	g.queue = append(g.queue, deferred{id: id, changes: changes, size: size, number: g.number})
	g.queued += size
	g.behind[id]++
}

// forgetLocked does the books for a write that leaves the queue. With g.mu held.
func (g *Guard) forgetLocked(d deferred) {
	g.queued -= d.size
	if g.behind[d.id]--; g.behind[d.id] == 0 {
		delete(g.behind, d.id)
	}
}

func (g *Guard) causeLocked() error {
	if g.cause == nil {
		return errQueueFull
	}
	return fmt.Errorf("%w, which is away: %w", errQueueFull, g.cause)
}

// first is the oldest write.
func (g *Guard) first() (d deferred, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.queue = nil
		return d, false
	}
	return g.queue[0], true
}

// replayed takes a write off the queue, where it is the oldest, and notes what became of it.
func (g *Guard) replayed(d deferred, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 && g.queue[0].number == d.number { // else it was Released meanwhile
		g.queue[0] = deferred{}
		g.queue = g.queue[1:]
		g.forgetLocked(d)
	}
	if err == nil {
		g.count.Replayed++
		return
	}
	g.count.Refused++
	if g.mayLog() {
		g.log.Error("a queued write is lost", "session", d.id.Short(), "error", err)
	}
}

// isBehind says whether writes of a session wait, which later ones must not overtake.
func (g *Guard) isBehind(id session.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.behind[id] > 0
}

// waitingOf are the writes of a session that wait, the oldest first.
func (g *Guard) waitingOf(id session.ID) (list []session.Changes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.behind[id] == 0 {
		return nil
	}
	for _, d := range g.queue {
		if d.id == id {
			list = append(list, d.changes) // nobody changes them
		}
	}
	return list
}

// remember keeps ends of connections until the main store can hear of them.
func (g *Guard) remember(refs []session.Ref) {
	if len(refs) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ref := range refs {
		if _, known := g.ended[ref.ID]; !known && len(g.ended) >= maxEnded {
			g.count.DetachLost++
			continue
		}
		g.ended[ref.ID] = ref
	}
	g.lookLocked()
}

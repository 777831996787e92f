package storeguard

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// maxCarried bounds the number of writes that are carried for one session.
const maxCarried = 1 << 16

// carriedSpare says that the session is in the spare store.
const carriedSpare = 1

var errCarried = errors.New("session: bad carried writes")

// Carry is what the Guard of another worker must know of a session whose connection moves there: that the spare store
// has it, and the writes that wait. It is empty if the main store has everything. This Guard goes on with both until
// Released.
func (g *Guard) Carry(id session.ID) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, behind := g.provisional[id], g.behind[id]
	if p == nil && behind == 0 {
		return nil
	}
	flags := byte(0)
	if p != nil {
		flags = carriedSpare
	}
	b := binary.AppendUvarint([]byte{flags}, uint64(behind))
	for i := range g.queue {
		if d := &g.queue[i]; d.id == id {
			d.carried = true
			b = sessionwire.AppendChanges(b, d.changes)
		}
	}
	return b
}

// Released forgets what Carry has given: the other Guard has it.
func (g *Guard) Released(id session.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.provisional[id]; p != nil && !p.moving {
		delete(g.provisional, id)
	}
	if g.behind[id] == 0 {
		return
	}
	kept := g.queue[:0]
	for _, d := range g.queue {
		if d.id != id || !d.carried {
			kept = append(kept, d)
			continue
		}
		g.forgetLocked(d)
	}
	clear(g.queue[len(kept):])
	g.queue = kept
}

// Adopt takes what another Guard's Carry has given. place is the session's connection. The writes are taken even if the
// queue is full: whoever wrote them was told that they are not lost.
func (g *Guard) Adopt(id session.ID, place session.Place, carried []byte) error {
	r := sessionwire.NewDecoder(carried)
	flags := r.Byte()
	n := r.Count(1, maxCarried)
	list := make([]session.Changes, n)
	for i := range list {
		list[i] = r.Changes()
	}
	if err := r.End(); err != nil {
		return errors.Join(errCarried, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if flags&carriedSpare != 0 && g.provisional[id] == nil {
		g.provisional[id] = &resident{place: place}
	}
	for _, changes := range list {
		g.putLocked(id, changes)
	}
	g.lookLocked()
	return nil
}

package expedite

import (
	"sync"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
)

// inboxLimit is the number of bytes from other workers that may wait for the event loop.
const inboxLimit = 8 << 20

// inbox carries messages from whoever reads them to the event loop: in one go all that came since its last turn.
type inbox struct {
	eng     *engine.Engine
	receive func(m []byte) // on the loop
	emptied func()         // on the loop: there was no room, and is again. May be nil

	mu       sync.Mutex
	room     sync.Cond
	filling  []byte
	emptying []byte // on the loop; its storage is the next filling
	closed   bool
	refused  bool
}

func newInbox(eng *engine.Engine) *inbox {
	in := &inbox{eng: eng}
	in.room.L = &in.mu
	return in
}

// put hands over messages, of which it makes a copy. If the inbox is full it waits or, if it must not, refuses.
func (in *inbox) put(m []byte, wait bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.filling) > 0 && len(in.filling)+len(m) > inboxLimit && !in.closed {
		if !wait {
			in.refused = true
			return broker.ErrOverloaded
		}
		in.room.Wait()
	}
	if in.closed {
		return ErrNotRunning
	}
	first := len(in.filling) == 0
	in.filling = append(in.filling, m...)
	if first && !in.eng.Post(in.empty) {
		return ErrNotRunning
	}
	return nil
}

// empty delivers what has come. On the loop.
func (in *inbox) empty() {
	in.mu.Lock()
	in.filling, in.emptying = in.emptying[:0], in.filling
	refused := in.refused
	in.refused = false
	in.room.Broadcast()
	in.mu.Unlock()
	in.receive(in.emptying)
	if refused && in.emptied != nil {
		in.emptied()
	}
	if cap(in.emptying) > inboxLimit/8 {
		in.emptying = nil
	}
}

// close lets go of whoever waits.
func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.room.Broadcast()
}

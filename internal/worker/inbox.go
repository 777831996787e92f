package worker

import (
	"errors"
	"sync"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
)

// inboxLimit is the number of bytes from other workers that may wait for the event loop.
const inboxLimit = 8 << 20

// ErrStopped reports that the worker does not run: before Start, or after its end.
var ErrStopped = errors.New("expedite: the worker has stopped")

// inbox carries messages to the event loop from the goroutine that reads them: all that came since the last turn at
// once.
type inbox struct {
	engine  *engine.Engine
	receive func(m []byte) // on the loop
	emptied func()         // on the loop: a message was refused, and there is room again. May be nil

	mu       sync.Mutex
	room     sync.Cond
	filling  []byte
	emptying []byte // on the loop; its storage is the next filling
	closed   bool
	refused  bool
}

func newInbox(e *engine.Engine) *inbox {
	in := &inbox{engine: e}
	in.room.L = &in.mu
	return in
}

// put copies messages into the inbox. If it is full, put blocks or, if it must not, fails with broker.ErrOverloaded.
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
		return ErrStopped
	}
	first := len(in.filling) == 0
	in.filling = append(in.filling, m...)
	if first && !in.engine.Post(in.empty) {
		return ErrStopped
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

// close releases all callers that wait for room.
func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.room.Broadcast()
}

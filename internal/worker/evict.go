package worker

import (
	"context"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/ws"
)

// eviction carries out the drain of the machine in this worker: see registry.Drain.
type eviction struct {
	engine *engine.Engine

	mu      sync.Mutex
	unready bool
	end     context.CancelFunc // of the closing under way; nil if there is none
	over    bool               // the worker stops, which closes everything
}

// noticeMost bounds the time, a tenth of that for closing, that clients with a notice have before the first one is
// closed.
const noticeMost = 5 * time.Second

// set carries out a drain, instead of the one before.
func (v *eviction) set(d registry.Drain) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	v.halt()
	v.unready = d.Unready
	v.engine.Refuse(d.Close)
	if d.Notice != "" {
		v.engine.Sweep(func(c *engine.Conn) { c.Send(ws.OpText, []byte(d.Notice)) }, nil)
	}
	if !d.Close {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.end = cancel
	go func() { // ends with halt, or with the engine
		if d.Notice != "" {
			wait := time.NewTimer(min(time.Until(d.By)/10, noticeMost))
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
		}
		v.engine.Evict(ctx, d.By, ws.CloseServiceRestart, "the server drains")
	}()
}

// halt ends the closing under way. v.mu is held.
func (v *eviction) halt() {
	if v.end != nil {
		v.end()
		v.end = nil
	}
}

// stop leaves the connections to the stop of the worker.
func (v *eviction) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	v.halt()
}

// active reports whether the worker shall get no new clients.
func (v *eviction) active() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unready
}

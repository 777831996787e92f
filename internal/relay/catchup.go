package relay

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// catchUpLimit is how long a relay that has succeeded another one waits until it listens to all topics itself.
	catchUpLimit = 10 * time.Second
	// maxHeld is the size of what waits meanwhile, in bytes. What comes later is missed.
	maxHeld = 32 << 20
	// bridgeTick is how often a relay looks whether the bridge can end, and bridgeTicks how often at least: until then,
	// the other machines have answered the resync.
	bridgeTick, bridgeTicks = 20 * time.Millisecond, 20
	// markTicks is how many times it waits for its mark to come through the bridge, whose worker may have ended.
	markTicks = 100
)

// held is what arrives from the backplane while a bridge has not ended yet: it comes later than everything on the
// bridge.
type held struct {
	list []backplane.Message
	size int
}

// hold keeps messages if there is a bridge. It reports false if there is none.
func (r *Relay) hold(list []backplane.Message) bool {
	r.gate.Lock()
	defer r.gate.Unlock()
	if r.held == nil {
		return false
	}
	for i := range list {
		r.held.add(&list[i])
	}
	return true
}

// add keeps a copy of a message, unless there are too many.
func (h *held) add(m *backplane.Message) {
	if h.size += len(m.Payload); h.size <= maxHeld {
		h.list = append(h.list, backplane.Message{Topic: m.Topic, Payload: bytes.Clone(m.Payload), At: m.At})
	}
}

// Topics returns the topics that a Bridge has to listen to: those to which this machine subscribes, and which have no
// history.
func (r *Relay) Topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for topic := range r.receivers {
		if !r.Keeps([]byte(topic)) {
			list = append(list, topic)
		}
	}
	return list
}

// release takes what was held.
func (r *Relay) release() {
	for {
		r.gate.Lock()
		var list []backplane.Message
		if r.held != nil {
			list = r.held.list
		}
		if len(list) == 0 {
			r.held = nil
			r.gate.Unlock()
			r.resumeSeries()
			return
		}
		r.held.list = nil
		r.gate.Unlock()
		r.take(list, false)
	}
}

// resume subscribes to the topics of the program before.
func (r *Relay) resume() {
	r.mu.Lock()
	topics := slices.Collect(maps.Keys(r.inherited))
	now := r.now()
	for topic, from := range r.inherited {
		from.left = now
		r.receivers[topic] = from
		r.leaving[topic] = struct{}{}
		r.silent[topic] = struct{}{}
	}
	r.inherited = nil
	if len(topics) == 0 {
		close(r.heard)
	} else {
		r.plan.leave.at(now + keepTopic)
	}
	switch {
	case r.queued: // nobody knows since when
		r.answer(-maxAge)
	case r.Succeeds: // what was refused at the end
		r.answer(now - margin)
	}
	r.mu.Unlock()
	if len(topics) > 0 {
		r.Backplane.Subscribe(topics...)
	}
}

// CatchUp delivers what has arrived since Start, in a relay that succeeds another one, when the hub knows all workers.
// If there is a bridge, what it has heard comes first: it ends when this relay listens itself.
func (r *Relay) CatchUp() { r.task.Go(r.catchUp) }

// CaughtUp returns a channel that is closed at the end of CatchUp, or of Start where there is nothing to catch up with.
// Until then the program must not be replaced again, nor the worker of the bridge.
func (r *Relay) CaughtUp() <-chan struct{} { return r.caught }

func (r *Relay) catchUp() {
	defer close(r.caught)
	defer r.release()
	if r.EndBridge == nil {
		return
	}
	limit := time.NewTimer(catchUpLimit)
	defer limit.Stop()
	select {
	case <-r.heard:
	case <-limit.C:
	case <-r.done:
	}
	r.awaitBridge(limit.C)
	ctx, cancel := context.WithTimeout(context.Background(), catchUpLimit)
	defer cancel()
	_ = r.EndBridge(ctx) // if the worker has ended, so has the bridge
}

// awaitBridge waits until the bridge has brought everything that is older than what is held: what was published just
// before this relay began to listen may still be on its way there. The numbers of what is held show what is missing,
// and so do the positions with which the other machines answer the resync. While those are silent, the mark shows it.
func (r *Relay) awaitBridge(limit <-chan time.Time) {
	tick := time.NewTicker(bridgeTick)
	defer tick.Stop()
	sent := r.mark()
	for waited := 0; waited < bridgeTicks || r.behind() || waited < markTicks && !r.has(sent, true); waited++ {
		select {
		case <-tick.C:
		case <-limit:
			return
		case <-r.done:
			return
		}
	}
}

// behind reports whether something is missing before what is held.
func (r *Relay) behind() bool {
	r.gate.RLock()
	defer r.gate.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	type source struct {
		topic string
		node  uint64
	}
	next := make(map[source]bool)
	for _, one := range r.held.list {
		m, err := parse(one.Payload)
		from := r.receivers[one.Topic]
		if err != nil || from == nil || !m.kind.numbered() || next[source{one.Topic, m.node}] {
			continue
		}
		last := from.last(m.node)
		if last == nil || last.stream != m.stream || m.seq <= last.seq {
			continue
		}
		if m.kind == position || m.seq > last.seq+1 {
			return true
		}
		next[source{one.Topic, m.node}] = true
	}
	return false
}

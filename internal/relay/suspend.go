package relay

import (
	"bytes"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// unsent is what waits for other machines while the primary replaces its program.
type unsent struct {
	list []backplane.Message
	size int
}

// Overlap prepares Suspend, before a Bridge begins to listen: what it brings waits until everything has come that has
// reached this program before. Suspend ends that, also where there is no bridge.
func (r *Relay) Overlap() {
	r.gate.Lock()
	defer r.gate.Unlock()
	r.early = new(held)
}

// takeEarly takes what the bridge has brought since Overlap. What it brings from now on is taken at once.
func (r *Relay) takeEarly() {
	for {
		r.gate.Lock()
		if r.early == nil || len(r.early.list) == 0 {
			r.early = nil
			r.gate.Unlock()
			return
		}
		list := r.early.list
		r.early.list = nil
		r.gate.Unlock()
		r.take(list, true)
	}
}

// Suspend prepares the replacement of the program, in which the link to the workers takes nothing, and the connections
// of the backplane end. Nothing from other machines is delivered until Resume: a Bridge must listen already. What is
// published waits for the next program, and Suspend blocks until everything before that was sent, or until a time
// limit. What has reached this program before the Bridge listened is delivered first.
func (r *Relay) Suspend(limit time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	until := time.Now().Add(limit)
	if limit > 0 {
		for sent := r.mark(); !r.has(sent, false) && time.Now().Before(until); {
			<-tick.C
		}
	}
	r.gate.Lock()
	if r.held == nil {
		r.held = new(held)
	}
	r.gate.Unlock()
	r.takeEarly()
	r.mu.Lock()
	r.suspended, r.past.paused = true, true
	r.mu.Unlock()
	for r.Backplane.Status().Queued > 0 && time.Now().Before(until) {
		<-tick.C
	}
}

// Resume ends Suspend.
func (r *Relay) Resume() {
	r.sendUnsent()
	r.release()
}

// out passes a message to the backplane, or keeps it for later.
func (r *Relay) out(topic string, payload []byte) error {
	if !r.suspended {
		return r.Backplane.Publish(topic, payload)
	}
	return r.unsent.add(topic, payload)
}

// add keeps a message. It returns backplane.ErrOverloaded if there are too many.
func (u *unsent) add(topic string, payload []byte) error {
	if u.size += len(payload); u.size > maxHeld {
		return backplane.ErrOverloaded
	}
	u.list = append(u.list, backplane.Message{Topic: topic, Payload: bytes.Clone(payload)})
	return nil
}

// sendUnsent sends what has waited.
func (r *Relay) sendUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.unsent.list {
		if r.Backplane.Publish(m.Topic, m.Payload) != nil {
			r.senders.owed[m.Topic] = struct{}{}
			r.plan.owed.at(r.now() + owedPause)
		}
	}
	r.suspended, r.unsent = false, unsent{}
	for topic, s := range r.past.series {
		for _, o := range s.own {
			if !o.sent && !o.lost && !s.hold.on {
				r.sendOwn(topic, o)
			}
		}
		r.sendHeld(topic, s)
	}
	r.signal()
}

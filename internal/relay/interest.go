package relay

import (
	"slices"
	"time"
)

const (
	// keepTopic is how long a topic is kept after its last subscriber on this machine: subscribers that move to another
	// worker, or come back soon, miss nothing, and churn costs nothing.
	keepTopic = 5 * time.Second
	// margin is how long an outage may have lasted before it was noticed.
	margin = 15 * time.Second
)

// Want implements broker.Machines.
func (r *Relay) Want(topic string, wanted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.receivers[topic]
	switch {
	case wanted && known == nil:
		r.receivers[topic] = &receiver{wanted: true}
		r.Backplane.Subscribe(topic)
	case wanted:
		known.wanted = true
		delete(r.leaving, topic)
	case known != nil:
		known.wanted, known.left = false, r.now()
		r.leaving[topic] = struct{}{}
		r.plan.leave.at(known.left + keepTopic)
		r.signal()
	}
}

// unfollow ends the series of a topic. What has no place yet waits for it, as it may have to be sent again.
func (r *Relay) unfollow(topic string) {
	if s := r.past.series[topic]; s != nil {
		r.past.recalls -= len(s.recalls)
		next := &series{hold: hold{list: s.hold.list}}
		for _, o := range s.own {
			if o.settled() {
				r.free(o)
			} else {
				next.own = append(next.own, o)
			}
		}
		r.past.series[topic] = next
		r.forget(topic, next)
	}
}

// leave unsubscribes from the topics that have had no subscribers for long enough.
func (r *Relay) leave(now time.Duration) {
	var topics []string
	for topic := range r.leaving {
		left := r.receivers[topic].left
		if now-left < keepTopic {
			r.plan.leave.at(left + keepTopic)
			continue
		}
		topics = append(topics, topic)
		delete(r.leaving, topic)
		delete(r.receivers, topic)
		r.unfollow(topic)
		r.listens(topic)
	}
	if len(topics) > 0 {
		r.Backplane.Unsubscribe(topics...)
	}
}

// Missing implements backplane.Receiver.
func (r *Relay) Missing(topics []string, _ error) {
	r.listen(topics, false)
	if r.Presence != nil {
		r.Presence.Interrupted(topics)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.now() - margin
	for i, topic := range topics {
		if i%positionsAtOnce == positionsAtOnce-1 { // there may be many, and the hub waits for the lock
			r.mu.Unlock()
			r.mu.Lock()
		}
		if at := r.receivers[topic]; at != nil && !at.isDeaf && !r.Keeps([]byte(topic)) {
			at.isDeaf, at.deaf = true, since
		}
	}
}

// Listening implements backplane.Receiver. What was missed before is found out with a resync.
func (r *Relay) Listening(topics []string) {
	defer r.listen(topics, true)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for _, topic := range topics {
		if slices.Contains(r.all, topic) { // the server may have lost its memory
			r.announceNow()
		}
		r.listens(topic)
		at := r.receivers[topic]
		if at == nil {
			continue
		}
		if !at.listening {
			at.listening, at.from, at.isDeaf = true, now, false
		}
		if !at.isDeaf {
			continue
		}
		at.isDeaf = false
		r.ask(at.deaf)
		if slices.Contains(r.all, topic) { // others may have asked meanwhile
			r.answer(at.deaf)
		}
	}
}

// listens notes that an inherited topic is listened to, or not wanted any more.
func (r *Relay) listens(topic string) {
	if _, silent := r.silent[topic]; !silent {
		return
	}
	if delete(r.silent, topic); len(r.silent) == 0 {
		close(r.heard)
	}
}

package engine

import (
	"errors"
	"math"
)

// NoPlace returns a place that no history can be continued from: it is not known what a client has had.
func NoPlace() Place { return Place{1, math.MaxUint64} }

// Continuing is a subscription of a connection that is to go on where an earlier connection of its client has ended. It
// waits for Start.
type Continuing struct{ r *recovery }

// Continue begins a subscription to a topic with a history; nothing is sent before Start. If c is subscribed or about
// to be, it returns nil. The outcome goes to Route.Recovered. If c moves before Start, it is that of NoPlace. It
// returns the errors of SubscribeFrom, does not wait, and is safe for concurrent use.
func (c *Conn) Continue(topic string) (*Continuing, error) {
	if !c.keeps(topic) {
		return nil, ErrNoHistory
	}
	r := &recovery{conn: c, topic: topic, from: From{After: NoPlace()}}
	err := c.eng.begin(r, true)
	switch {
	case errors.Is(err, ErrRecovering), errors.Is(err, errSubscribed):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &Continuing{r}, nil
}

// Start starts the subscription. It is called once, and is safe for concurrent use.
func (s *Continuing) Start(from From) {
	e := s.r.conn.eng
	e.Post(func() {
		s.r.from = from
		e.lineUp(s.r)
	})
}

// keeps reports whether a topic has a history here.
func (c *Conn) keeps(topic string) bool {
	return c.eng.recoveries != nil && c.eng.cfg.History.Keeps(topic)
}

// locate asks where a topic is that has its first subscriber of a route with Leaves, so that its marks are known before
// something is published. e.topicsMu is held.
func (e *Engine) locate(c *Conn, topic string) {
	if c.route.Leaves == nil || !c.keeps(topic) {
		return
	}
	if _, known := e.recoveries.places[topic]; known {
		return
	}
	e.Post(func() {
		h, key := e.recoveries, recallKey{topic: topic, bytes: 1}
		if h.open[key] == nil {
			e.queue(key)
			e.askNext()
		}
	})
}

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/redisfeed"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// Health is the state of what lies outside of this machine: the session store and the feed of revocations. The primary
// finds it out and tells its workers, so that /readyz, status and metrics agree. It is written as JSON; fields may be
// added.
type Health struct {
	Store Fault `json:"store,omitzero"`
	Feed  Fault `json:"feed,omitzero"`
	Plane Fault `json:"plane,omitzero"` // messages do not pass between machines
	// Current reports that the revocations of other machines are known here.
	Current bool `json:"current"`
}

// Fault tells since when something does not work, and why. The zero Fault is none.
type Fault struct {
	Since time.Time `json:"since,omitzero"`
	Cause string    `json:"cause,omitempty"`
}

// IsSet reports whether there is a fault.
func (f Fault) IsSet() bool { return !f.Since.IsZero() }

// set records an error, or the end of the fault if err is nil.
func (f *Fault) set(err error) {
	switch {
	case err == nil:
		*f = Fault{}
	case f.IsSet():
		f.Cause = err.Error()
	default:
		*f = Fault{time.Now(), err.Error()}
	}
}

// What /readyz and status call degraded.
const (
	degradedStore = "redis"
	degradedFeed  = "revocations"
	degradedPlane = "backplane"
	// DegradedKeys means that a token provider has not sent its keys yet.
	DegradedKeys = "keys"
	// DegradedCertificates means that no certificate has been obtained yet, and there is no other: no client can connect
	// with TLS. It makes nothing unready: a load balancer that takes out what is not ready would keep the authority away.
	DegradedCertificates = "certificates"
)

// Degraded names what does not work.
func (h Health) Degraded() (list []string) {
	if h.Store.IsSet() {
		list = append(list, degradedStore)
	}
	if h.Feed.IsSet() || !h.Current {
		list = append(list, degradedFeed)
	}
	if h.Plane.IsSet() {
		list = append(list, degradedPlane)
	}
	return list
}

const (
	// tickEvery is how often the server checks Redis and looks for what has expired.
	tickEvery = time.Second
	// fullCheck is the number of ticks between two checks that try every operation of a store that works.
	fullCheck = 10
)

// watchRedis checks the store every second and follows the feed, until the server stops.
func (s *Server) watchRedis() {
	s.noteStore(storeguard.Check(context.Background(), s.store)) // before the feed: one line reports that Redis is away
	s.tasks.Go(func() {
		s.feed.Subscribe(s.done, redisfeed.Subscriber{Receive: s.received, Retained: s.inForce, State: s.noteFeed})
	})
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-s.doubt:
		case <-s.done:
			return
		}
		if n%fullCheck == 0 || s.ownHealth().Store.IsSet() {
			s.noteStore(storeguard.Check(context.Background(), s.store))
		} else {
			s.noteStore(s.store.PutTicket(context.Background(), [32]byte{1}, nil, time.Second))
		}
	}
}

// ownHealth returns the health as the primary sees it.
func (s *Server) ownHealth() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Health returns the health as the primary sees it. If one of the workers in samples alone cannot use the store, that
// is a fault of the store, too.
func (s *Server) Health(samples []telemetry.SlotReport) Health {
	h := s.ownHealth()
	for _, w := range samples {
		if w.StoreDownSince > 0 && !h.Store.IsSet() {
			h.Store.Since = time.Unix(int64(w.StoreDownSince), 0)
			h.Store.Cause = fmt.Sprintf("worker %d cannot use it, or has not written everything yet", w.Slot)
		}
	}
	return h
}

// noteStore records the result of a check of the store. Errors other than ErrUnavailable are answers: the store works.
func (s *Server) noteStore(err error) {
	if !errors.Is(err, session.ErrUnavailable) {
		err = nil
	}
	before := s.change(func(h *Health) { h.Store.set(err) })
	switch was := before.Store; {
	case was.IsSet() == (err != nil):
		return
	case err != nil && s.require:
		s.log.Warn("Redis cannot be used: clients are told to come back later", "error", err)
	case err != nil:
		s.log.Warn("Redis cannot be used: new sessions live in the primary", "error", err)
	default:
		s.log.Info("Redis can be used again", "away_seconds", time.Since(was.Since).Seconds())
	}
	s.feed.Check() // it may have missed what was published meanwhile
}

// NotePlane records why messages do not pass between machines; nil if they do. Machines go on without it, so this makes
// none of them unready.
func (s *Server) NotePlane(err error) {
	before := s.change(func(h *Health) { h.Plane.set(err) })
	switch was := before.Plane; {
	case was.IsSet() == (err != nil):
	case err != nil:
		s.log.Warn("not everything passes between machines", "error", err)
	default:
		s.log.Info("messages pass between machines again", "away_seconds", time.Since(was.Since).Seconds())
	}
}

// noteFeed records the state of the feed.
func (s *Server) noteFeed(state redisfeed.State) {
	err := state.Err()
	before := s.change(func(h *Health) {
		h.Feed.set(err)
		h.Current = state.Current
	})
	if err == nil {
		if s.feedFails > 1 {
			s.log.Info("revocations are shared with other machines again")
		}
		s.feedFails = 0
		return
	}
	if !before.Feed.IsSet() {
		select {
		case s.doubt <- struct{}{}: // the store may be down as well
		default:
		}
	}
	if s.feedFails < 2 && !before.Store.IsSet() { // else the line about the store suffices
		if s.feedFails++; s.feedFails == 2 { // the first failure may be a connection that is made anew
			s.log.Warn("revocations are not shared with other machines as they should be", "error", err)
		}
	}
}

// change changes the health, tells the workers if it differs, and returns what it was before.
func (s *Server) change(f func(*Health)) (before Health) {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	s.mu.Lock()
	before = s.health
	f(&s.health)
	now := s.health
	s.mu.Unlock()
	if now != before {
		s.untold = !s.tellHealth(now)
	}
	return before
}

// tellAgain repeats the health and the drain if a worker's queue was full, and asks workers that did not carry out an
// order to say hello: they get the whole deny list then.
func (s *Server) tellAgain() {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	if s.untold {
		s.untold = !s.tellHealth(s.ownHealth())
	}
	if s.drainUntold {
		s.drainUntold = !s.tellDrain()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workers {
		if w.behind && w.peer.Tell(opGreet, nil) == nil {
			w.behind = false // it asks until it has an answer
		}
	}
}

// tellHealth tells all workers and reports whether all queues had room. The caller holds tellMu, so that the last
// message is the latest health.
func (s *Server) tellHealth(h Health) (told bool) {
	b, err := json.Marshal(h)
	if err != nil {
		return false
	}
	told = true
	for _, w := range s.all() {
		if err := w.peer.Tell(opHealth, b); err != nil && !errors.Is(err, rpc.ErrClosed) {
			told = false
		}
	}
	return told
}

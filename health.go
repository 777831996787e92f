package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// health is how what lies outside of this machine is: the session store, and the feed of revocations. The primary finds
// it out and tells its workers, so that /readyz, status and metrics agree. It is written as JSON; fields may be added.
type health struct {
	Store fault `json:"store,omitzero"`
	Feed  fault `json:"feed,omitzero"`
	// Current says that the revocations of other machines are known here.
	Current bool `json:"current"`
}

// fault is since when something does not work, and why. The zero fault is none.
type fault struct {
	Since time.Time `json:"since,omitzero"`
	Cause string    `json:"cause,omitempty"`
}

// is reports whether there is one.
func (f fault) is() bool { return !f.Since.IsZero() }

// set notes an error, or that there is none any more.
func (f *fault) set(err error) {
	switch {
	case err == nil:
		*f = fault{}
	case f.is():
		f.Cause = err.Error()
	default:
		*f = fault{time.Now(), err.Error()}
	}
}

// What Degraded names, in /readyz and status.
const (
	degradedStore = "redis"
	degradedFeed  = "revocations"
)

// degraded names what does not work.
func (h health) degraded() (list []string) {
	if h.Store.is() {
		list = append(list, degradedStore)
	}
	if h.Feed.is() || !h.Current {
		list = append(list, degradedFeed)
	}
	return list
}

// storeCheck is how many looks at a store that works lie between two that try everything.
const storeCheck = 10

// watch asks the store every second whether it does what sessions need, and follows the feed.
func (r *registry) watch() {
	r.noteStore(session.Check(context.Background(), r.store)) // before the feed: one line says that Redis is away
	r.tasks.Go(func() {
		r.feed.Follow(r.done, session.Follower{Heard: r.heard, Kept: r.kept, State: r.noteFeed})
	})
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-r.doubt:
		case <-r.done:
			return
		}
		if n%storeCheck == 0 || r.condition().Store.is() {
			r.noteStore(session.Check(context.Background(), r.store))
		} else {
			r.noteStore(r.store.PutTicket(context.Background(), [32]byte{1}, nil, time.Second))
		}
	}
}

// condition is the health of this moment.
func (r *registry) condition() health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health
}

// overall is the health, with what workers say to whom the store is away alone.
func (r *registry) overall(samples []telemetry.SlotReport) health {
	h := r.condition()
	for _, s := range samples {
		if s.StoreDownSince > 0 && !h.Store.is() {
			h.Store.Since = time.Unix(int64(s.StoreDownSince), 0)
			h.Store.Cause = fmt.Sprintf("worker %d cannot use it, or has not told it all yet", s.Slot)
		}
	}
	return h
}

// noteStore keeps how the store is. What it refuses for a reason of its own is an answer.
func (r *registry) noteStore(err error) {
	if !errors.Is(err, session.ErrUnavailable) {
		err = nil
	}
	before := r.change(func(h *health) { h.Store.set(err) })
	switch was := before.Store; {
	case was.is() == (err != nil):
		return
	case err != nil && r.require:
		r.log.Warn("Redis cannot be used: clients are told to come back later", "error", err)
	case err != nil:
		r.log.Warn("Redis cannot be used: new sessions live in the primary", "error", err)
	default:
		r.log.Info("Redis can be used again", "away_seconds", time.Since(was.Since).Seconds())
	}
	r.feed.Look() // what was said meanwhile was perhaps not heard
}

// noteFeed keeps how the feed is.
func (r *registry) noteFeed(s session.FeedState) {
	err := s.Err()
	before := r.change(func(h *health) {
		h.Feed.set(err)
		h.Current = s.Current
	})
	if err == nil {
		if r.feedFails > 1 {
			r.log.Info("revocations are shared with other machines again")
		}
		r.feedFails = 0
		return
	}
	if !before.Feed.is() {
		select {
		case r.doubt <- struct{}{}: // perhaps it is the store
		default:
		}
	}
	if r.feedFails < 2 && !before.Store.is() { // else the store's line tells
		if r.feedFails++; r.feedFails == 2 { // the connection was not only made anew
			r.log.Warn("revocations are not shared with other machines as they should be", "error", err)
		}
	}
}

// change changes the health, tells the workers if it is another one now, and returns what it was before.
func (r *registry) change(f func(*health)) (before health) {
	r.tellMu.Lock()
	defer r.tellMu.Unlock()
	r.mu.Lock()
	before = r.health
	f(&r.health)
	now := r.health
	r.mu.Unlock()
	if now != before {
		r.untold = !r.tellHealth(now)
	}
	return before
}

// tellAgain tells the workers again if one of them could not be told, and makes those ask for everything that have not
// carried out an order.
func (r *registry) tellAgain() {
	r.tellMu.Lock()
	defer r.tellMu.Unlock()
	if r.untold {
		r.untold = !r.tellHealth(r.condition())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.behind && m.peer.Tell(opGreet, nil) == nil {
			m.behind = false // it asks until it is answered
		}
	}
}

// tellHealth tells all workers, and reports false if the queue of one is full. With r.tellMu held: what is told last
// is the latest.
func (r *registry) tellHealth(h health) (told bool) {
	b, err := json.Marshal(h)
	if err != nil {
		return false
	}
	told = true
	for _, p := range r.workers() {
		if err := p.Tell(opHealth, b); err != nil && !errors.Is(err, rpc.ErrClosed) {
			told = false
		}
	}
	return told
}

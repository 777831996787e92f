package access

import (
	"context"
	"errors"
	"sync"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// claims makes the attachments of connections that have opened effective: before that they take nothing from other
// connections.
type claims struct {
	t *Tracker

	mu     sync.Mutex
	queue  []*claim
	later  []*claim          // the store was away
	byConn map[uint64]*claim // all of them, until the store has answered
	busy   int               // goroutines
	tasks  sync.WaitGroup
}

// claim is an attachment that is still to be claimed. claims.mu guards everything but attach.
type claim struct {
	attach  session.Attach
	resume  *resume // nil if nobody waits for what the session has received
	running bool    // with the store
	gone    bool    // the connection has ended or moved
	ended   bool    // tell the store afterwards that the connection has ended
	discard bool    // as in Tracker.note
}

const (
	// maxClaims is the number of connections whose sessions are still to be claimed. One more is closed.
	maxClaims = 64 << 10
	// claimers is the number of claims that are with the store at once.
	claimers = 16
)

// add queues the claim of a connection that is open. It reports false if there are too many.
func (s *claims) add(a session.Attach, r *resume) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byConn) >= maxClaims {
		return false
	}
	if s.byConn[a.Place.Conn] == nil {
		one := &claim{attach: a, resume: r}
		s.byConn[a.Place.Conn] = one
		s.queue = append(s.queue, one)
		s.work()
	}
	return true
}

// again retries the claims for which the store was away.
func (s *claims) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, s.later...)
	s.later = nil
	s.work()
}

// waits reports whether the session of a connection is still to be claimed.
func (s *claims) waits(conn uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byConn[conn] != nil
}

// ended notes that a connection has ended. It reports true if its claim is with the store now: the store is told of the
// end after that.
func (s *claims) ended(conn uint64, discard bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.forget(conn)
	if one != nil {
		one.ended, one.discard = true, discard
	}
	return one != nil
}

// moved notes that a connection has moved. Its new worker claims the session as well.
func (s *claims) moved(conn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(conn)
}

// forget gives up a claim, and returns it if it is with the store now. The caller holds s.mu.
func (s *claims) forget(conn uint64) *claim {
	one := s.byConn[conn]
	if one == nil {
		return nil
	}
	one.gone = true
	if one.running {
		return one
	}
	delete(s.byConn, conn)
	return nil
}

// work starts goroutines for the queue. The caller holds s.mu.
func (s *claims) work() {
	for ; s.busy < min(len(s.queue), claimers); s.busy++ {
		s.tasks.Go(s.run) // ends with the queue
	}
}

func (s *claims) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		one := s.queue[0]
		s.queue = s.queue[1:]
		if one.gone {
			continue
		}
		one.running = true
		s.mu.Unlock()
		from, err := s.t.claim(one.attach)
		if one.resume != nil && !errors.Is(err, session.ErrUnavailable) {
			s.t.awaits.Go(func() { s.t.awaitReceived(one.resume, one.attach.ID, from) })
		}
		s.mu.Lock()
		one.running = false
		switch {
		case errors.Is(err, session.ErrUnavailable) && !one.gone:
			s.later = append(s.later, one)
			continue
		case one.ended:
			s.t.note(session.Ref{ID: one.attach.ID, Conn: one.attach.Place.Conn}, one.discard)
		}
		delete(s.byConn, one.attach.Place.Conn)
	}
	s.queue = nil
	s.busy--
}

// claim claims a session, and closes the connections that have lost theirs by it. If the session no longer exists, its
// own connection is closed.
func (t *Tracker) claim(a session.Attach) (from session.Place, err error) {
	for pending := true; pending; {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		at, err := t.Store.Claim(ctx, a)
		cancel()
		switch {
		case errors.Is(err, session.ErrNotFound):
			t.closeAt(a.Place, CodeTooMany, reasonTooMany)
			return from, nil
		case err != nil:
			if !errors.Is(err, session.ErrUnavailable) && t.Journal.Clients.Allow() {
				t.log.Warn("session not claimed", "session", a.ID.Short(), "error", err)
			}
			return from, err
		}
		if at.Replaced.Conn != 0 {
			from = at.Replaced
		}
		t.closeOthers(&at)
		pending = at.Pending
	}
	return from, nil
}

// Opened closes the connections that this one replaces: the previous holder of its session, and those evicted by the
// limit of sessions per user.
func (t *Tracker) Opened(c *Client) {
	d := c.details.Load()
	if d == nil || d.attached == nil {
		return
	}
	at := d.attached
	next := *d
	next.attached = nil
	c.details.Store(&next)
	t.closeOthers(&at.Attached)
	if at.Pending && c.Conn.Open() { // else it was closed while it opened
		t.claimFor(c, at.params)
	}
}

// claimFor queues the claim of an open connection.
func (t *Tracker) claimFor(c *Client, params map[string]string) {
	d := c.details.Load()
	a := session.Attach{ID: d.session, User: d.user, Params: params, Policy: t.Policy, Place: t.place(uint64(c.ID()))}
	var r *resume
	if c.extra != nil {
		r = c.extra.resume
	}
	if !t.claims.add(a, r) {
		t.unclaimed.Add(1)
		_ = c.Conn.Close(ws.CloseTryAgainLater, "too many sessions are being resumed") // or it has ended
	}
}

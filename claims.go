package expedite

import (
	"context"
	"errors"
	"sync"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// claims makes attachments effective whose connections have opened: until then they take nothing from anyone. Any
// goroutine.
type claims struct {
	k *keeper

	mu     sync.Mutex
	queue  []*claim
	later  []*claim          // the store was away
	byConn map[uint64]*claim // all of them, until the store has answered
	busy   int               // goroutines
	tasks  sync.WaitGroup
}

// claim is an attachment to be claimed. Guarded by claims.mu, but for attach.
type claim struct {
	attach  session.Attach
	running bool
	gone    bool // the connection has ended, or moved
	ended   bool // the store is to hear of its end afterwards
	discard bool // as keeper.note
}

const (
	// maxClaims is the number of connections whose sessions are still to be claimed; one more is closed.
	maxClaims = 64 << 10
	// claimers is the number of claims that are with the store at once.
	claimers = 16
)

// add claims the session of a connection that is open. It reports false if there are too many.
func (s *claims) add(a session.Attach) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byConn) >= maxClaims {
		return false
	}
	if s.byConn[a.Place.Conn] == nil {
		one := &claim{attach: a}
		s.byConn[a.Place.Conn] = one
		s.queue = append(s.queue, one)
		s.work()
	}
	return true
}

// again tries those that the store could not answer.
func (s *claims) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, s.later...)
	s.later = nil
	s.work()
}

// waits says whether the session of a connection is still to be claimed.
func (s *claims) waits(conn uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byConn[conn] != nil
}

// left takes note that a connection has ended. It reports true if the store may only hear of that behind the claim that
// is with it now.
func (s *claims) left(conn uint64, discard bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.forget(conn)
	if one != nil {
		one.ended, one.discard = true, discard
	}
	return one != nil
}

// moved takes note that a connection has another worker, which claims its session, too.
func (s *claims) moved(conn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(conn)
}

// forget gives a claim up, and returns it if it is with the store now. With s.mu held.
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

// work starts goroutines for what is in the queue. With s.mu held.
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
		err := s.k.claim(one.attach)
		s.mu.Lock()
		one.running = false
		switch {
		case errors.Is(err, session.ErrUnavailable) && !one.gone:
			s.later = append(s.later, one)
			continue
		case one.ended:
			s.k.note(session.Ref{ID: one.attach.ID, Conn: one.attach.Place.Conn}, one.discard)
		}
		delete(s.byConn, one.attach.Place.Conn)
	}
	s.queue = nil
	s.busy--
}

// claim claims a session, and closes the connections that have lost theirs. If the session has gone meanwhile, its own
// connection is closed.
func (k *keeper) claim(a session.Attach) error {
	for pending := true; pending; {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		at, err := k.store.Claim(ctx, a)
		cancel()
		switch {
		case errors.Is(err, session.ErrNotFound):
			k.closeConn(a.Place, CloseTooMany, tooManySessions)
			return nil
		case err != nil:
			if !errors.Is(err, session.ErrUnavailable) && k.sampled.Allow() {
				k.log.Warn("session not claimed", "session", a.ID.Short(), "error", err)
			}
			return err
		}
		k.closeOthers(&at)
		pending = at.Pending
	}
	return nil
}

// opened claims what the attachment of a connection that is open has left to be claimed.
func (k *keeper) opened(c *Conn) {
	w := c.who.Load()
	if w == nil || w.begun == nil {
		return
	}
	begun := w.begun
	next := *w
	next.begun = nil
	c.who.Store(&next)
	k.closeOthers(&begun.attached)
	if begun.attached.Pending && c.conn.Open() { // else it was closed while it opened
		k.claimFor(c, begun.params)
	}
}

// claimFor claims the session of an open connection.
func (k *keeper) claimFor(c *Conn, params map[string]string) {
	w := c.who.Load()
	a := session.Attach{
		ID: w.session, User: w.user, Params: params, Policy: k.policy,
		Place: session.Place{Node: k.registry.Node(), Conn: uint64(c.ID())},
	}
	if !k.claims.add(a) {
		k.unclaimed.Add(1)
		_ = c.Close(ws.CloseTryAgainLater, "too many sessions are being resumed")
	}
}

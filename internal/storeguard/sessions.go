package storeguard

import (
	"context"
	"errors"
	"sync"

	"github.com/expedite-go/expedite/session"
)

// maxSpare is the number of sessions in the spare store that a Guard keeps track of.
const maxSpare = 1 << 20

var errTooMany = errors.New("session: too many sessions wait for the store")

// spareSession is a session in the spare store that will move to the main store.
type spareSession struct {
	place  session.Place
	users  int  // calls under way in the spare store
	moving bool // the recovery is moving it: no calls may use it
}

// spareSessions keeps track of the sessions that this worker has in the spare store, so that no call uses one while it
// moves. It is safe for concurrent use.
type spareSessions struct {
	mu                         sync.Mutex
	by                         map[session.ID]*spareSession
	moved                      chan struct{} // closed when the batch that moves has moved
	idle                       chan struct{} // receives when a session has lost a user
	created, restored, refused uint64
}

func newSpareSessions() *spareSessions {
	return &spareSessions{
		by: make(map[session.ID]*spareSession), moved: make(chan struct{}), idle: make(chan struct{}, 1),
	}
}

// enter returns a session, which then does not move until leave is called. It returns nil if the session is not in the
// spare store. If the session is moving, enter waits.
func (s *spareSessions) enter(ctx context.Context, id session.ID) (*spareSession, error) {
	for {
		s.mu.Lock()
		one := s.by[id]
		if one == nil || !one.moving {
			if one != nil {
				one.users++
			}
			s.mu.Unlock()
			return one, nil
		}
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, session.Unavailable(ctx.Err())
		}
	}
}

// enterAll divides references by where their sessions are. Those in the spare store are entered; call leave for them.
// It does not wait for those that move.
func (s *spareSessions) enterAll(refs []session.Ref) (main, spare, moving []session.Ref, entered []*spareSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		switch one := s.by[ref.ID]; {
		case one == nil:
			main = append(main, ref)
		case one.moving:
			moving = append(moving, ref)
		default:
			one.users++
			spare, entered = append(spare, ref), append(entered, one)
		}
	}
	return main, spare, moving, entered
}

// leave ends the use of sessions.
func (s *spareSessions) leave(entered ...*spareSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range entered {
		one.users--
	}
	select {
	case s.idle <- struct{}{}:
	default:
	}
}

// use calls the spare store if the session is there. It reports false if it is not, or no longer: another worker has
// moved or deleted it.
func (s *spareSessions) use(
	ctx context.Context, id session.ID, call func(context.Context) error,
) (used bool, err error) {
	one, err := s.enter(ctx, id)
	if one == nil {
		return err != nil, err
	}
	defer s.leave(one)
	if err = call(ctx); !errors.Is(err, session.ErrNotFound) {
		return true, err
	}
	s.remove(id)
	return false, nil
}

// reserve returns session.ErrUnavailable if there are too many sessions for another one.
func (s *spareSessions) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.by) < maxSpare {
		return nil
	}
	s.refused++
	return session.Unavailable(errTooMany)
}

// attached records a session that was created or resumed in the spare store.
func (s *spareSessions) attached(at session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.by[at.ID]; one != nil {
		one.place = at.Place // that of another connection, if a Claim must follow
		return
	}
	s.by[at.ID] = &spareSession{place: at.Place}
	s.created++
}

// claimed records that a connection has claimed a session.
func (s *spareSessions) claimed(id session.ID, place session.Place, evicted []session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.by[id]; one != nil {
		one.place = place
	}
	for _, e := range evicted {
		delete(s.by, e.ID)
	}
}

// adopt records a session whose connection has moved here.
func (s *spareSessions) adopt(id session.ID, place session.Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[id] == nil {
		s.by[id] = &spareSession{place: place}
	}
}

// release forgets a session whose connection has moved to another worker.
func (s *spareSessions) release(id session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.by[id]; one != nil && !one.moving {
		delete(s.by, id)
	}
}

func (s *spareSessions) remove(id session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, id)
}

func (s *spareSessions) has(id session.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[id] != nil
}

// depart marks up to limit sessions as moving and returns their places. If all sessions are in use, it waits. It
// returns none if there are none, or if ctx ends.
func (s *spareSessions) depart(ctx context.Context, limit int) map[session.ID]session.Place {
	for {
		batch := make(map[session.ID]session.Place, limit)
		s.mu.Lock()
		for id, one := range s.by {
			if one.users == 0 && len(batch) < limit {
				one.moving = true
				batch[id] = one.place
			}
		}
		none := len(s.by) == 0
		s.mu.Unlock()
		if len(batch) > 0 || none {
			return batch
		}
		select {
		case <-s.idle:
		case <-ctx.Done():
			return nil
		}
	}
}

// arrive ends the move of a batch. It forgets the sessions that have left the spare store; the others are still there.
func (s *spareSessions) arrive(batch map[session.ID]session.Place, left []session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range left {
		delete(s.by, id)
	}
	for id := range batch {
		if one := s.by[id]; one != nil {
			one.moving = false
		}
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

// count counts sessions that the main store has restored, and those that it has refused.
func (s *spareSessions) count(restored, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restored += uint64(restored)
	s.refused += uint64(refused)
}

func (s *spareSessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.by)
}

func (s *spareSessions) addTo(stats *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Provisional, stats.Restored = s.created, s.restored
	stats.Refused += s.refused
}

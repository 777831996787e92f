package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Config limits what a Store holds. The zero Config uses the defaults.
type Config struct {
	// MaxSessions is the largest number of sessions. 0 means 2,000,000.
	MaxSessions int
	// MaxTickets is the largest number of tickets. 0 means 100,000.
	MaxTickets int
	// MaxBytes is the largest total size of values, names of users, parameters and tickets. 0 means 256 MiB.
	MaxBytes int
	// EmptyTTL is how long an anonymous session without values lives after its connection has ended. 0 means as long as
	// other sessions.
	EmptyTTL time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Store is a session.Store in memory. Make one with [New]. It starts no goroutine: its owner calls Sweep about once per
// second. All methods treat expired sessions as gone, but their memory is used until then. It is safe for concurrent
// use.
type Store struct {
	config Config

	mu      sync.Mutex
	table   table
	values  map[uint32]*valueSet // by the numbers of sessions
	tickets map[[32]byte]ticket
	hand    uint32 // the session at which Sweep continues
	count   counts
}

// counts are the counters of Stats.
type counts struct{ expired, evicted, refused, full, discarded uint64 }

// New returns an empty Store.
func New(config Config) *Store {
	config.MaxSessions = positive(config.MaxSessions, 2_000_000)
	config.MaxTickets = positive(config.MaxTickets, 100_000)
	config.MaxBytes = positive(config.MaxBytes, 256<<20)
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Store{
		config: config, table: newTable(), values: make(map[uint32]*valueSet), tickets: make(map[[32]byte]ticket),
	}
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Close does nothing.
func (s *Store) Close() error { return nil }

// Attach implements session.Store.
func (s *Store) Attach(_ context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if i := s.live(a.ID, now); i != 0 && s.table.user(i) == a.User {
		if at := s.table.place(i); !at.IsZero() && at != a.Place {
			return session.Attached{Session: s.table.session(i), Resumed: true, Pending: true}, nil
		}
		return s.resume(i, a, now), nil
	}
	crowded := false
	if p := a.Policy; p.MaxPerUser > 0 {
		others := s.others(a.User, 0, now)
		if crowded = len(others) >= p.MaxPerUser; crowded && p.Refuse {
			if _, err := s.victims(p, others, now); err != nil {
				s.count.refused++
				return session.Attached{}, err
			}
		}
	}
	if err := s.room(len(a.User)+sessionwire.Size(a.Params), now); err != nil {
		return session.Attached{}, err
	}
	i := s.table.insert(session.Session{
		ID: session.NewID(a.User), User: a.User, Params: a.Params, TTL: a.Policy.Lifetime(), Place: a.Place,
		Created: sessionwire.FromMicros(now), Seen: sessionwire.FromMicros(now),
	})
	return session.Attached{Session: s.table.session(i), Pending: crowded}, nil
}

// Claim implements session.Store.
func (s *Store) Claim(_ context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	i := s.live(a.ID, now)
	if i == 0 || s.table.user(i) != a.User {
		return session.Attached{}, session.ErrNotFound
	}
	done := s.resume(i, a, now)
	if p := a.Policy; p.MaxPerUser > 0 {
		if others := s.others(a.User, i, now); len(others) >= p.MaxPerUser {
			victims, _ := s.victims(p, others, now) // those that the policy protects stay
			done.Pending = len(victims) > session.MaxBatch
			done.Evicted = victims[:min(len(victims), session.MaxBatch)]
		}
	}
	for _, v := range done.Evicted {
		s.count.evicted++
		s.remove(s.table.find(v.ID))
	}
	return done, nil
}

func (s *Store) resume(i uint32, a session.Attach, now int64) session.Attached {
	before := s.table.place(i)
	s.table.setPlace(i, a.Place)
	if a.Params != nil {
		s.table.setParams(i, a.Params)
	}
	r := s.table.at(i)
	r.seen, r.ttl = now, millis(a.Policy.Lifetime())
	done := session.Attached{Session: s.table.session(i), Resumed: true}
	if before != a.Place {
		done.Replaced = before
	}
	return done
}

// room returns ErrFull if there is no room for one more session of so many bytes.
func (s *Store) room(bytes int, now int64) error {
	if s.table.len() >= s.config.MaxSessions {
		s.sweepSessions(fullSweep, now)
	}
	if s.table.len() >= s.config.MaxSessions || s.table.bytes+bytes > s.config.MaxBytes {
		s.count.full++
		return fmt.Errorf("%w: %d sessions, %d bytes", session.ErrFull, s.table.len(), s.table.bytes)
	}
	return nil
}

// others returns the live sessions of a user except for session i, the one that was inserted last before the others.
func (s *Store) others(user string, i uint32, now int64) (list []uint32) {
	for other := range s.table.chain(user) {
		if s.expired(other, now) {
			s.expire(other)
		} else if other != i {
			list = append(list, other)
		}
	}
	return list
}

// victims returns the sessions in others that make room for one more.
func (s *Store) victims(p session.Policy, others []uint32, now int64) ([]session.Session, error) {
	list := make([]session.Session, len(others))
	for k, other := range others {
		list[len(list)-1-k] = s.table.session(other)
	}
	return p.Victims(list, sessionwire.FromMicros(now))
}

// Detach implements session.Store.
func (s *Store) Detach(_ context.Context, refs []session.Ref) error {
	s.detach(refs, false)
	return nil
}

// Discard implements session.Store.
func (s *Store) Discard(_ context.Context, refs []session.Ref) error {
	s.detach(refs, true)
	return nil
}

func (s *Store) detach(refs []session.Ref, discard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, ref := range refs {
		i := s.live(ref.ID, now)
		switch {
		case i == 0 || ref.Conn == 0 || s.table.at(i).conn != ref.Conn:
		case discard && s.values[i] == nil:
			s.count.discarded++
			s.remove(i)
		default:
			s.table.setPlace(i, session.Place{})
			s.table.at(i).seen = now
		}
	}
}

// Touch implements session.Store.
func (s *Store) Touch(_ context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, ref := range refs {
		if i := s.live(ref.ID, now); i != 0 {
			s.table.at(i).seen = now
		} else {
			lost = append(lost, ref)
		}
	}
	return lost, nil
}

// Restore implements session.Store.
func (s *Store) Restore(_ context.Context, list []session.Saved) (superseded []session.ID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for k := range list {
		one := &list[k]
		if err := one.Validate(); err != nil {
			return superseded, err
		}
		ok, err := s.restore(one, now)
		if err != nil {
			return superseded, err
		}
		if !ok {
			superseded = append(superseded, one.ID)
		}
	}
	return superseded, nil
}

// restore reports false if the session has a newer connection, or is another user's.
func (s *Store) restore(one *session.Saved, now int64) (ok bool, err error) {
	i := s.live(one.ID, now)
	switch {
	case i != 0:
		if at := s.table.place(i); s.table.user(i) != one.User || !at.IsZero() && at != one.Place {
			return false, nil
		}
		if err := s.save(i, one.Values); err != nil {
			return false, err
		}
		s.table.setPlace(i, one.Place)
		s.table.at(i).seen = now
		return true, nil
	case s.table.taken(one.ID):
		return false, nil
	}
	if err := s.room(len(one.User)+sessionwire.Size(one.Params)+sessionwire.Size(one.Values), now); err != nil {
		return false, err
	}
	fresh := one.Session
	fresh.Seen = sessionwire.FromMicros(now)
	return true, s.save(s.table.insert(fresh), one.Values)
}

// Find implements session.Store.
func (s *Store) Find(_ context.Context, ids ...session.ID) ([]session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var found []session.Session
	for _, id := range ids {
		if i := s.live(id, now); i != 0 {
			found = append(found, s.table.session(i))
		}
	}
	return found, nil
}

// List implements session.Store.
func (s *Store) List(_ context.Context, user string, page session.Page) ([]session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	newer := func(a, b *record) int {
		return cmp.Or(cmp.Compare(b.created, a.created), bytes.Compare(b.id[:], a.id[:]))
	}
	before := &record{id: page.ID, created: sessionwire.Micros(page.Created)}
	var list []uint32
	for i := range s.table.chain(user) {
		if s.expired(i, now) {
			s.expire(i)
		} else if page.IsFirst() || newer(before, s.table.at(i)) < 0 {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(i, j uint32) int { return newer(s.table.at(i), s.table.at(j)) })
	list = list[:min(len(list), page.Limit())]
	sessions := make([]session.Session, 0, len(list))
	for _, i := range list {
		sessions = append(sessions, s.table.session(i))
	}
	return sessions, nil
}

// Drop implements session.Store.
func (s *Store) Drop(_ context.Context, ids ...session.ID) ([]session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var dropped []session.Session
	for _, id := range ids {
		if i := s.live(id, now); i != 0 {
			dropped = append(dropped, s.table.session(i))
			s.remove(i)
		}
	}
	return dropped, nil
}

var _ session.Store = (*Store)(nil)

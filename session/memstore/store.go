// Package memstore keeps sessions in the memory of one process.
package memstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Config is how much a Memory may hold. The zero Config works.
type Config struct {
	// MaxSessions is how many sessions it holds; 0 means 2,000,000.
	MaxSessions int
	// MaxTickets is how many tickets it holds; 0 means 100,000.
	MaxTickets int
	// MaxBytes is how large all values, names of users, parameters and tickets may be together; 0 means 256 MiB.
	MaxBytes int
	// EmptyTTL is how long an anonymous session without values lives after its connection; 0 means as long as others.
	EmptyTTL time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Store is a session.Store within one process: the primary's. Make one with [New]. It starts no goroutine: its owner
// calls Sweep every second or so. Expired sessions are gone at once for all methods, but keep their room until then.
type Store struct {
	config Config

	mu      sync.Mutex
	slab    slab
	index   map[secret]uint32
	users   userTable
	nodes   texts
	params  texts // as appendParams makes them
	values  map[uint32]*valueSet
	tickets map[[32]byte]ticket
	bytes   int    // what MaxBytes limits
	hand    uint32 // where Sweep goes on
	buffer  []byte // for one text
	count   counts
}

// New makes an empty store.
func New(config Config) *Store {
	if config.MaxSessions <= 0 {
		config.MaxSessions = 2_000_000
	}
	if config.MaxTickets <= 0 {
		config.MaxTickets = 100_000
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = 256 << 20
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Store{
		config: config,
		index:  make(map[secret]uint32),
		users:  newUserTable(), nodes: newTexts(), params: newTexts(),
		values: make(map[uint32]*valueSet), tickets: make(map[[32]byte]ticket),
	}
}

// Close does nothing.
func (m *Store) Close() error { return nil }

// Attach is Store's.
func (m *Store) Attach(_ context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if i := m.live(a.ID, now); i != 0 && m.userOf(i) == a.User {
		if r := m.slab.at(i); r.conn != 0 && m.placeOf(r) != a.Place {
			return session.Attached{Session: m.session(i), Resumed: true, Pending: true}, nil
		}
		return m.resume(i, a, now), nil
	}
	victims, err := m.victims(0, a, now)
	if err != nil {
		m.count.refused++
		return session.Attached{}, err
	}
	if err := m.room(len(a.User)+sessionwire.Size(a.Params), now); err != nil {
		return session.Attached{}, err
	}
	s := session.Session{
		ID: session.NewID(a.User), User: a.User, Params: a.Params, TTL: a.Policy.Lifetime(), Place: a.Place,
		Created: sessionwire.FromMicros(now), Seen: sessionwire.FromMicros(now),
	}
	return session.Attached{Session: m.session(m.insert(s, now)), Pending: len(victims) > 0}, nil
}

// Claim is Store's.
func (m *Store) Claim(_ context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	i := m.live(a.ID, now)
	if i == 0 || m.userOf(i) != a.User {
		return session.Attached{}, session.ErrNotFound
	}
	done := m.resume(i, a, now)
	victims, _ := m.victims(i, a, now) // those that the policy protects stay
	done.Pending = len(victims) > session.MaxBatch
	for _, v := range victims[:min(len(victims), session.MaxBatch)] {
		done.Evicted = append(done.Evicted, m.session(v))
		m.count.evicted++
		m.remove(v)
	}
	return done, nil
}

func (m *Store) resume(i uint32, a session.Attach, now int64) session.Attached {
	r := m.slab.at(i)
	before := session.Place{Node: m.nodes.at(r.node), Conn: r.conn}
	m.place(i, a.Place)
	if a.Params != nil {
		m.setParams(r, a.Params)
	}
	r.seen, r.ttl = now, millis(a.Policy.Lifetime())
	done := session.Attached{Session: m.session(i), Resumed: true}
	if before != a.Place {
		done.Replaced = before
	}
	return done
}

// room fails with ErrFull if there is none for one more session of so many bytes.
func (m *Store) room(bytes int, now int64) error {
	if m.size() >= m.config.MaxSessions {
		m.sweepSessions(fullSweep, now)
	}
	if m.size() >= m.config.MaxSessions || m.bytes+bytes > m.config.MaxBytes {
		m.count.full++
		return fmt.Errorf("%w: %d sessions, %d bytes", session.ErrFull, m.size(), m.bytes)
	}
	return nil
}

// victims are the sessions of a user that go to make room for one that stays; 0 is one that is not there yet. With
// ErrTooManySessions they are those among them that may go.
func (m *Store) victims(stays uint32, a session.Attach, now int64) ([]uint32, error) {
	p := a.Policy
	if p.MaxPerUser <= 0 {
		return nil, nil
	}
	var list []uint32
	for i := range m.chain(a.User, now) {
		if i != stays {
			list = append(list, i)
		}
	}
	need := len(list) - p.MaxPerUser + 1
	if need <= 0 {
		return nil, nil
	}
	slices.Reverse(list) // the oldest first among equals
	away := func(r *record) bool {
		return r.conn == 0 || p.Refuse && p.Stale > 0 && r.seen+p.Stale.Microseconds() <= now
	}
	slices.SortStableFunc(list, func(i, j uint32) int {
		a, b := m.slab.at(i), m.slab.at(j)
		switch aAway, bAway := away(a), away(b); {
		case aAway && bAway:
			return compare(a.seen, b.seen)
		case aAway:
			return -1
		case bAway:
			return 1
		default:
			return compare(a.created, b.created)
		}
	})
	if p.Refuse && !away(m.slab.at(list[need-1])) {
		may := slices.IndexFunc(list, func(i uint32) bool { return !away(m.slab.at(i)) })
		return list[:may], session.ErrTooManySessions
	}
	return list[:need], nil
}

// Detach is Store's.
func (m *Store) Detach(_ context.Context, refs []session.Ref) error {
	m.detach(refs, false)
	return nil
}

// Discard is Store's.
func (m *Store) Discard(_ context.Context, refs []session.Ref) error {
	m.detach(refs, true)
	return nil
}

// detach takes the connections from their sessions, or deletes those that hold no values.
func (m *Store) detach(refs []session.Ref, discard bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, ref := range refs {
		i := m.live(ref.ID, now)
		switch {
		case i == 0 || ref.Conn == 0 || m.slab.at(i).conn != ref.Conn:
		case discard && m.values[i] == nil:
			m.count.discarded++
			m.remove(i)
		default:
			m.place(i, session.Place{})
			m.slab.at(i).seen = now
		}
	}
}

// Touch is Store's.
func (m *Store) Touch(_ context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, ref := range refs {
		if i := m.live(ref.ID, now); i != 0 {
			m.slab.at(i).seen = now
		} else {
			lost = append(lost, ref)
		}
	}
	return lost, nil
}

// Restore is Store's.
func (m *Store) Restore(_ context.Context, list []session.Saved) (superseded []session.ID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for k := range list {
		s := &list[k]
		if err := s.Validate(); err != nil {
			return superseded, err
		}
		ok, err := m.restore(s, now)
		if err != nil {
			return superseded, err
		}
		if !ok {
			superseded = append(superseded, s.ID)
		}
	}
	return superseded, nil
}

func (m *Store) restore(s *session.Saved, now int64) (ok bool, err error) {
	i := m.live(s.ID, now)
	if i == 0 && m.index[secretOf(s.ID)] != 0 || !s.ID.MayBelongTo(s.User) {
		return false, nil // the random part is another session's
	}
	if i != 0 {
		r := m.slab.at(i)
		if m.userOf(i) != s.User || r.conn != 0 && m.placeOf(r) != s.Place {
			return false, nil
		}
		if err := m.save(i, s.Values); err != nil {
			return false, err
		}
		m.place(i, s.Place)
		r.seen = now
		return true, nil
	}
	if err := m.room(len(s.User)+sessionwire.Size(s.Params)+sessionwire.Size(s.Values), now); err != nil {
		return false, err
	}
	fresh := s.Session
	fresh.Seen = sessionwire.FromMicros(now)
	return true, m.save(m.insert(fresh, now), s.Values)
}

var _ session.Store = (*Store)(nil)

package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// valueSet are the values of a session.
type valueSet struct {
	values map[string][]byte
	bytes  int
}

type ticket struct {
	value   []byte
	expires int64 // microseconds since 1970
}

// Load is Store's.
func (m *Store) Load(_ context.Context, id session.ID) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.live(id, m.now())
	if i == 0 {
		return nil, session.ErrNotFound
	}
	values := make(map[string][]byte)
	if v := m.values[i]; v != nil {
		for k, b := range v.values {
			values[k] = slices.Clone(b)
		}
	}
	return values, nil
}

// Save is Store's.
func (m *Store) Save(_ context.Context, id session.ID, changes session.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.live(id, m.now())
	if i == 0 {
		return session.ErrNotFound
	}
	return m.save(i, changes)
}

// save changes values, all or none. With m.mu held.
func (m *Store) save(i uint32, changes map[string][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	if len(changes) > session.MaxChanges {
		return fmt.Errorf("%w: %d changes, the limit is %d", session.ErrTooLarge, len(changes), session.MaxChanges)
	}
	set := m.values[i]
	if set == nil {
		set = &valueSet{values: make(map[string][]byte, len(changes))}
	}
	count, bytes := len(set.values), set.bytes
	for k, v := range changes {
		if old, ok := set.values[k]; ok {
			count, bytes = count-1, bytes-len(k)-len(old)
		}
		if v != nil {
			count, bytes = count+1, bytes+len(k)+len(v)
		}
	}
	if count > session.MaxValues || bytes > session.MaxValueBytes {
		return fmt.Errorf("%w: %d values of %d bytes, the limits are %d and %d",
			session.ErrTooLarge, count, bytes, session.MaxValues, session.MaxValueBytes)
	}
	if bytes > set.bytes && m.bytes+bytes-set.bytes > m.config.MaxBytes {
		m.count.full++
		return fmt.Errorf("%w: %d bytes", session.ErrFull, m.bytes)
	}
	for k, v := range changes {
		if v == nil {
			delete(set.values, k)
		} else {
			set.values[k] = append(make([]byte, 0, len(v)), v...) // not nil, even if empty
		}
	}
	m.bytes += bytes - set.bytes
	set.bytes = bytes
	if len(set.values) == 0 {
		delete(m.values, i)
	} else {
		m.values[i] = set
	}
	return nil
}

// Find is Store's.
func (m *Store) Find(_ context.Context, id session.ID) (session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.live(id, m.now())
	if i == 0 {
		return session.Session{}, session.ErrNotFound
	}
	return m.session(i), nil
}

// List is Store's.
func (m *Store) List(_ context.Context, user string, page session.Page) ([]session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	order := func(created int64, id session.ID, i uint32) int { // the newest first
		r := m.slab.at(i)
		return cmp.Or(compare(r.created, created), bytes.Compare(r.id[:], id[:]))
	}
	var list []uint32
	for i := range m.chain(user, m.now()) {
		if page.IsFirst() || order(sessionwire.Micros(page.Created), page.ID, i) < 0 {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(i, j uint32) int { return order(m.slab.at(i).created, m.slab.at(i).id, j) })
	list = list[:min(len(list), page.Limit())]
	sessions := make([]session.Session, 0, len(list))
	for _, i := range list {
		sessions = append(sessions, m.session(i))
	}
	return sessions, nil
}

// Drop is Store's.
func (m *Store) Drop(_ context.Context, ids ...session.ID) ([]session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	var dropped []session.Session
	for _, id := range ids {
		if i := m.live(id, now); i != 0 {
			dropped = append(dropped, m.session(i))
			m.remove(i)
		}
	}
	return dropped, nil
}

// PutTicket is Store's.
func (m *Store) PutTicket(_ context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.dropTicket(key)
	if len(m.tickets) >= m.config.MaxTickets {
		m.sweepTickets(fullSweep, now)
	}
	if len(m.tickets) >= m.config.MaxTickets || m.bytes+len(value) > m.config.MaxBytes {
		m.count.full++
		return fmt.Errorf("%w: %d tickets, %d bytes", session.ErrFull, len(m.tickets), m.bytes)
	}
	m.tickets[key] = ticket{slices.Clone(value), now + session.ClampTTL(ttl).Microseconds()}
	m.bytes += len(value)
	return nil
}

// TakeTicket is Store's.
func (m *Store) TakeTicket(_ context.Context, key [32]byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tickets[key]
	m.dropTicket(key)
	if !ok || t.expires <= m.now() {
		return nil, session.ErrNotFound
	}
	return t.value, nil
}

func (m *Store) dropTicket(key [32]byte) {
	m.bytes -= len(m.tickets[key].value)
	delete(m.tickets, key)
}

// fullSweep is how much is looked at to find room when there is none.
const fullSweep = 1000

// Sweep looks at the next n sessions and n tickets and removes those whose time is up. It returns how many it removed.
// A call with 10,000 takes about a millisecond.
func (m *Store) Sweep(n int) (removed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	return m.sweepSessions(n, now) + m.sweepTickets(n, now)
}

func (m *Store) sweepSessions(n int, now int64) (removed int) {
	for range min(n, int(m.slab.high)) {
		if m.hand++; m.hand >= m.slab.high {
			m.hand = 1
		}
		if m.hand < m.slab.high && m.slab.used(m.hand) && m.expired(m.hand, now) {
			m.expire(m.hand)
			removed++
		}
	}
	return removed
}

// sweepTickets looks at some tickets, each time at others: a map is walked from a random place.
func (m *Store) sweepTickets(n int, now int64) (removed int) {
	for key, t := range m.tickets {
		if n--; n < 0 {
			break
		}
		if t.expires <= now {
			m.dropTicket(key)
			removed++
		}
	}
	return removed
}

// counts are those of Stats that are not sizes.
type counts struct {
	connected                                  int
	expired, evicted, refused, full, discarded uint64
}

// Stats is what a Memory holds and has done. Counters only grow.
type Stats struct {
	// Sessions are those that are stored, Connected those among them with a connection. Sessions whose time is up count
	// until they are swept.
	Sessions, Connected int
	// Users are those with sessions.
	Users int
	// Tickets are those that are stored.
	Tickets int
	// Bytes are those of values, names of users, parameters and tickets.
	Bytes int
	// Expired counts sessions whose time was up.
	Expired uint64
	// Evicted counts sessions that were deleted to make room for others of their user.
	Evicted uint64
	// Refused counts sessions that were not made because their user had too many.
	Refused uint64
	// Full counts what was refused because the store was full.
	Full uint64
	// Discarded counts sessions that ended with a connection that had hardly begun.
	Discarded uint64
}

// Stats returns a snapshot.
func (m *Store) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{
		Sessions: m.size(), Connected: m.count.connected, Users: m.users.count, Tickets: len(m.tickets), Bytes: m.bytes,
		Expired: m.count.expired, Evicted: m.count.evicted, Refused: m.count.refused, Full: m.count.full,
		Discarded: m.count.discarded,
	}
}

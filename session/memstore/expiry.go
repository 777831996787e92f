package memstore

import "github.com/expedite-go/expedite/session"

// fullSweep is the number of sessions, or tickets, that are examined to make room when there is none.
const fullSweep = 1000

// Sweep examines the next n sessions and n tickets, and removes those that have expired. It returns how many it has
// removed. With n = 10,000 it takes about a millisecond, during which other methods wait.
func (s *Store) Sweep(n int) (removed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	return s.sweepSessions(n, now) + s.sweepTickets(n, now)
}

// s.mu is held in all functions below.

func (s *Store) sweepSessions(n int, now int64) (removed int) {
	high := s.table.slab.high
	for range min(n, int(high)) {
		if s.hand++; s.hand >= high {
			s.hand = 1
		}
		if s.hand < high && s.table.slab.used(s.hand) && s.expired(s.hand, now) {
			s.expire(s.hand)
			removed++
		}
	}
	return removed
}

// sweepTickets relies on maps being iterated from a random position: each call examines other tickets.
func (s *Store) sweepTickets(n int, now int64) (removed int) {
	for key, t := range s.tickets {
		if n--; n < 0 {
			break
		}
		if t.expires <= now {
			s.dropTicket(key)
			removed++
		}
	}
	return removed
}

// now returns the time in microseconds.
func (s *Store) now() int64 { return s.config.Now().UnixMicro() }

// live returns the number of a session, or 0 if it does not exist. It removes a session that has expired.
func (s *Store) live(id session.ID, now int64) uint32 {
	i := s.table.find(id)
	if i != 0 && s.expired(i, now) {
		s.expire(i)
		return 0
	}
	return i
}

func (s *Store) expired(i uint32, now int64) bool {
	r := s.table.at(i)
	ttl := int64(r.ttl) * 1000
	if r.user == 0 && r.conn == 0 && s.config.EmptyTTL > 0 && s.values[i] == nil {
		ttl = min(ttl, s.config.EmptyTTL.Microseconds())
	}
	return r.seen+ttl <= now
}

func (s *Store) expire(i uint32) {
	s.count.expired++
	s.remove(i)
}

// remove deletes a session and its values.
func (s *Store) remove(i uint32) {
	if v := s.values[i]; v != nil {
		s.table.bytes -= v.bytes
		delete(s.values, i)
	}
	s.table.remove(i)
}

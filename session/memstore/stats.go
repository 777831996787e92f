package memstore

// Stats describes what a Store holds and has done. Counters never decrease.
type Stats struct {
	// Sessions is the number of sessions, Connected the number of those with a connection. Both include sessions that
	// have expired and were not swept yet.
	Sessions, Connected int
	// Users is the number of users with sessions.
	Users int
	// Tickets is the number of tickets.
	Tickets int
	// Bytes is the total size of values, names of users, parameters and tickets.
	Bytes int
	// Expired counts sessions that have expired.
	Expired uint64
	// Evicted counts sessions that were deleted to make room for others of their user.
	Evicted uint64
	// Refused counts sessions that were not created because their user had too many.
	Refused uint64
	// Full counts requests that were refused because the Store was full.
	Full uint64
	// Discarded counts sessions that were deleted because their first connection ended early.
	Discarded uint64
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Sessions: s.table.len(), Connected: s.table.connected, Users: s.table.users.count, Tickets: len(s.tickets),
		Bytes: s.table.bytes, Expired: s.count.expired, Evicted: s.count.evicted, Refused: s.count.refused,
		Full: s.count.full, Discarded: s.count.discarded,
	}
}

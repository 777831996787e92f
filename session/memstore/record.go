package memstore

import (
	"cmp"
	"iter"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// With m.mu held, all of these.

func compare(a, b int64) int { return cmp.Compare(a, b) }

// now is the time in microseconds.
func (m *Store) now() int64 { return m.config.Now().UnixMicro() }

// millis is how a TTL is stored. MaxTTL fits.
func millis(d time.Duration) uint32 { return uint32(d.Milliseconds()) }

// expired says whether the time of a session is up.
func (m *Store) expired(i uint32, now int64) bool {
	r := m.slab.at(i)
	ttl := int64(r.ttl) * 1000
	if r.user == 0 && r.conn == 0 && m.config.EmptyTTL > 0 && m.values[i] == nil {
		ttl = min(ttl, m.config.EmptyTTL.Microseconds())
	}
	return r.seen+ttl <= now
}

// size is the number of sessions, expired ones that were not swept yet among them.
func (m *Store) size() int { return len(m.index) }

// live returns the number of a session, or 0. One that has expired is removed.
func (m *Store) live(id session.ID, now int64) uint32 {
	i := m.index[secretOf(id)]
	if i == 0 || m.slab.at(i).id != id {
		return 0
	}
	if m.expired(i, now) {
		m.expire(i)
		return 0
	}
	return i
}

func (m *Store) userOf(i uint32) string { return m.users.list[m.slab.at(i).user].name }

func (m *Store) placeOf(r *record) session.Place {
	return session.Place{Node: m.nodes.at(r.node), Conn: r.conn}
}

// session is what others see of a record.
func (m *Store) session(i uint32) session.Session {
	r := m.slab.at(i)
	s := session.Session{
		ID: r.id, User: m.userOf(i), Created: sessionwire.FromMicros(r.created), Seen: sessionwire.FromMicros(r.seen),
		TTL: time.Duration(r.ttl) * time.Millisecond, Place: m.placeOf(r),
	}
	if r.params != 0 {
		s.Params = sessionwire.NewReader([]byte(m.params.at(r.params))).Params()
	}
	return s
}

// chain yields the live sessions of a named user, the latest inserted first. Those that have expired are removed. What
// it has yielded may be removed meanwhile.
func (m *Store) chain(user string, now int64) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		u := m.users.find(session.TagOf(user), user)
		if user == "" || u == 0 {
			return
		}
		for i := m.users.list[u].head; i != 0; {
			at := i
			i = m.slab.at(i).next
			if m.expired(at, now) {
				m.expire(at)
			} else if !yield(at) {
				return
			}
		}
	}
}

// insert stores a session that is not there. There is room.
func (m *Store) insert(s session.Session, seen int64) uint32 {
	i := m.slab.take()
	r := m.slab.at(i)
	r.id, r.created, r.seen, r.ttl = s.ID, sessionwire.Micros(s.Created), seen, millis(session.ClampTTL(s.TTL))
	m.index[secretOf(s.ID)] = i
	if s.User != "" {
		r.user = m.users.add(s.ID.Tag(), s.User)
		u := &m.users.list[r.user]
		if r.next = u.head; r.next != 0 {
			m.slab.at(r.next).prev = i
		} else {
			m.bytes += len(s.User)
		}
		u.head = i
		u.count++
	}
	m.setParams(r, s.Params)
	m.place(i, s.Place)
	return i
}

// remove deletes a session.
func (m *Store) remove(i uint32) {
	r := m.slab.at(i)
	m.place(i, session.Place{})
	m.setParams(r, nil)
	if v := m.values[i]; v != nil {
		m.bytes -= v.bytes
		delete(m.values, i)
	}
	delete(m.index, secretOf(r.id))
	if r.user != 0 {
		u := &m.users.list[r.user]
		if r.prev != 0 {
			m.slab.at(r.prev).next = r.next
		} else {
			u.head = r.next
		}
		if r.next != 0 {
			m.slab.at(r.next).prev = r.prev
		}
		if u.count--; u.count == 0 {
			m.bytes -= len(u.name)
			m.users.remove(r.id.Tag(), r.user)
		}
	}
	m.slab.give(i)
}

// expire deletes a session whose time is up.
func (m *Store) expire(i uint32) {
	m.count.expired++
	m.remove(i)
}

// place sets where a session's connection is.
func (m *Store) place(i uint32, p session.Place) {
	r := m.slab.at(i)
	if r.conn != 0 {
		m.count.connected--
	}
	m.nodes.remove(r.node)
	r.node, r.conn = 0, p.Conn
	if p.Conn != 0 {
		m.count.connected++
		m.buffer = append(m.buffer[:0], p.Node...)
		r.node, _ = m.nodes.add(m.buffer)
	}
}

func (m *Store) setParams(r *record, params map[string]string) {
	m.bytes -= m.params.remove(r.params)
	r.params = 0
	if len(params) > 0 {
		m.buffer = sessionwire.AppendParams(m.buffer[:0], params)
		var grown int
		r.params, grown = m.params.add(m.buffer)
		m.bytes += grown
	}
}

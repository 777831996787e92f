package memstore

import (
	"iter"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// table holds sessions without their values. Sessions have numbers, which are valid until they are removed; 0 means no
// session. Its methods are not safe for concurrent use.
type table struct {
	slab      slab
	index     map[secret]uint32
	users     userTable
	nodes     stringTable
	params    stringTable // encoded by sessionwire.AppendParams
	connected int         // sessions with a connection
	bytes     int         // the size of users, parameters, and whatever the Store adds
	buffer    []byte      // reused to encode one string
}

// secret is the random part of an id. Ids of different users differ in it, too: the index needs no more.
type secret [len(session.ID{}) - len(session.Tag{})]byte

func secretOf(id session.ID) secret { return secret(id[len(session.Tag{}):]) }

func newTable() table {
	return table{index: make(map[secret]uint32), users: newUserTable(), nodes: newStringTable(), params: newStringTable()}
}

func (t *table) at(i uint32) *record { return t.slab.at(i) }

// len returns the number of sessions.
func (t *table) len() int { return len(t.index) }

// find returns the number of a session.
func (t *table) find(id session.ID) uint32 {
	if i := t.index[secretOf(id)]; i != 0 && t.at(i).id == id {
		return i
	}
	return 0
}

// taken reports whether a session has the random part of id.
func (t *table) taken(id session.ID) bool { return t.index[secretOf(id)] != 0 }

func (t *table) user(i uint32) string { return t.users.list[t.at(i).user].name }

func (t *table) place(i uint32) session.Place {
	r := t.at(i)
	return session.Place{Node: t.nodes.at(r.node), Conn: r.conn}
}

func (t *table) session(i uint32) session.Session {
	r := t.at(i)
	s := session.Session{
		ID: r.id, User: t.user(i), Created: sessionwire.FromMicros(r.created), Seen: sessionwire.FromMicros(r.seen),
		TTL: time.Duration(r.ttl) * time.Millisecond, Place: t.place(i),
	}
	if r.params != 0 {
		s.Params = sessionwire.NewDecoder([]byte(t.params.at(r.params))).Params()
	}
	return s
}

// chain yields the sessions of a named user, starting with the one that was inserted last. The session that it has
// yielded may be removed.
func (t *table) chain(user string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		u := t.users.find(session.TagOf(user), user)
		if user == "" || u == 0 {
			return
		}
		for i := t.users.list[u].head; i != 0; {
			at := i
			i = t.at(i).next
			if !yield(at) {
				return
			}
		}
	}
}

// insert stores a session whose id is not taken.
func (t *table) insert(s session.Session) uint32 {
	i := t.slab.take()
	r := t.at(i)
	r.id, r.created, r.seen = s.ID, sessionwire.Micros(s.Created), sessionwire.Micros(s.Seen)
	r.ttl = millis(session.ClampTTL(s.TTL))
	t.index[secretOf(s.ID)] = i
	if s.User != "" {
		r.user = t.users.add(s.ID.Tag(), s.User)
		u := &t.users.list[r.user]
		if r.next = u.head; r.next != 0 {
			t.at(r.next).prev = i
		} else {
			t.bytes += len(s.User)
		}
		u.head = i
		u.count++
	}
	t.setParams(i, s.Params)
	t.setPlace(i, s.Place)
	return i
}

// millis returns a TTL as records store it. session.MaxTTL fits.
func millis(d time.Duration) uint32 { return uint32(d.Milliseconds()) }

// remove deletes a session.
func (t *table) remove(i uint32) {
	r := t.at(i)
	t.setPlace(i, session.Place{})
	t.setParams(i, nil)
	delete(t.index, secretOf(r.id))
	if r.user != 0 {
		u := &t.users.list[r.user]
		if r.prev != 0 {
			t.at(r.prev).next = r.next
		} else {
			u.head = r.next
		}
		if r.next != 0 {
			t.at(r.next).prev = r.prev
		}
		if u.count--; u.count == 0 {
			t.bytes -= len(u.name)
			t.users.remove(r.id.Tag(), r.user)
		}
	}
	t.slab.give(i)
}

func (t *table) setPlace(i uint32, p session.Place) {
	r := t.at(i)
	if r.conn != 0 {
		t.connected--
	}
	t.nodes.remove(r.node)
	r.node, r.conn = 0, p.Conn
	if p.Conn != 0 {
		t.connected++
		t.buffer = append(t.buffer[:0], p.Node...)
		r.node, _ = t.nodes.add(t.buffer)
	}
}

func (t *table) setParams(i uint32, params map[string]string) {
	r := t.at(i)
	t.bytes -= t.params.remove(r.params)
	r.params = 0
	if len(params) > 0 {
		t.buffer = sessionwire.AppendParams(t.buffer[:0], params)
		var grown int
		r.params, grown = t.params.add(t.buffer)
		t.bytes += grown
	}
}

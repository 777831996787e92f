package memstore

import (
	"unsafe"

	"github.com/expedite-go/expedite/session"
)

// secret is the random part of an id.
type secret [len(session.ID{}) - len(session.Tag{})]byte

func secretOf(id session.ID) secret { return secret(id[len(session.Tag{}):]) }

// record is a session in memory. It has no pointers: users, nodes and parameters are numbers of their tables.
type record struct {
	id            session.ID
	created, seen int64 // microseconds since 1970
	conn          uint64
	ttl           uint32 // milliseconds
	user          uint32 // 0 is anonymous
	node, params  uint32
	next, prev    uint32 // in the list of the user's sessions, the newest first; next is also that of free records
}

// The budget of a session in memory.
const _ = uint(72 - unsafe.Sizeof(record{}))

// chunkRecords is how many records are allocated at once: a slab that doubled would be half empty.
const chunkRecords = 1024

// slab is a table of records. Number 0 is none.
type slab struct {
	chunks [][]record
	free   uint32 // the first free record
	high   uint32 // records from here on were never used
}

func (s *slab) at(i uint32) *record { return &s.chunks[i/chunkRecords][i%chunkRecords] }

// take returns the number of a zero record.
func (s *slab) take() uint32 {
	if i := s.free; i != 0 {
		r := s.at(i)
		s.free = r.next
		*r = record{}
		return i
	}
	if s.high == 0 {
		s.high = 1
	}
	i := s.high
	if int(i/chunkRecords) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]record, chunkRecords))
	}
	s.high++
	return i
}

// give frees a record.
func (s *slab) give(i uint32) {
	*s.at(i) = record{next: s.free}
	s.free = i
}

// used says whether a record is in use.
func (s *slab) used(i uint32) bool { return !s.at(i).id.IsZero() }

// userEntry is a user with sessions.
type userEntry struct {
	name  string
	head  uint32 // the newest session
	next  uint32 // the next user with this tag, or the next free entry
	count uint32 // sessions
}

// userTable knows users by their tag: a map by name would be larger. Number 0 is none.
type userTable struct {
	byTag map[session.Tag]uint32
	list  []userEntry
	free  uint32
	count int
}

func newUserTable() userTable {
	return userTable{byTag: make(map[session.Tag]uint32), list: make([]userEntry, 1)}
}

// find returns the number of a user, or 0.
func (t *userTable) find(of session.Tag, name string) uint32 {
	i := t.byTag[of]
	for i != 0 && t.list[i].name != name {
		i = t.list[i].next
	}
	return i
}

// add returns the number of a user, who may be new.
func (t *userTable) add(of session.Tag, name string) uint32 {
	if i := t.find(of, name); i != 0 {
		return i
	}
	i := t.free
	if i == 0 {
		i = uint32(len(t.list))
		t.list = append(t.list, userEntry{})
	} else {
		t.free = t.list[i].next
	}
	t.list[i] = userEntry{name: name, next: t.byTag[of]}
	t.byTag[of] = i
	t.count++
	return i
}

// remove forgets a user.
func (t *userTable) remove(of session.Tag, i uint32) {
	e := &t.list[i]
	if before := t.byTag[of]; before == i {
		if e.next == 0 {
			delete(t.byTag, of)
		} else {
			t.byTag[of] = e.next
		}
	} else {
		for t.list[before].next != i {
			before = t.list[before].next
		}
		t.list[before].next = e.next
	}
	*e = userEntry{next: t.free}
	t.free = i
	t.count--
}

// texts is a table of texts that many share. Number 0 is the empty one.
type texts struct {
	byText map[string]uint32
	list   []sharedText
	free   uint32
}

type sharedText struct {
	text string
	uses uint32
	next uint32 // the next free one
}

func newTexts() texts { return texts{byText: make(map[string]uint32), list: make([]sharedText, 1)} }

// add returns the number of a text and how many bytes are stored for it that were not before.
func (t *texts) add(text []byte) (i uint32, grown int) {
	if len(text) == 0 {
		return 0, 0
	}
	if i, ok := t.byText[string(text)]; ok {
		t.list[i].uses++
		return i, 0
	}
	if i = t.free; i == 0 {
		i = uint32(len(t.list))
		t.list = append(t.list, sharedText{})
	} else {
		t.free = t.list[i].next
	}
	s := string(text)
	t.list[i] = sharedText{text: s, uses: 1}
	t.byText[s] = i
	return i, len(s)
}

// remove gives a text up and returns how many bytes that frees.
func (t *texts) remove(i uint32) (shrunk int) {
	if i == 0 {
		return 0
	}
	e := &t.list[i]
	if e.uses--; e.uses > 0 {
		return 0
	}
	shrunk = len(e.text)
	delete(t.byText, e.text)
	*e = sharedText{next: t.free}
	t.free = i
	return shrunk
}

func (t *texts) at(i uint32) string { return t.list[i].text }

package memstore

import "github.com/expedite-go/expedite/session"

// userEntry is a user who has sessions.
type userEntry struct {
	name  string
	head  uint32 // the session that was inserted last
	next  uint32 // the next user with the same tag, or the next free entry
	count uint32 // of sessions
}

// userTable numbers users. It finds them by their tags, as a map with names as keys would be larger. Number 0 means no
// user.
type userTable struct {
	byTag map[session.Tag]uint32
	list  []userEntry
	free  uint32
	count int
}

func newUserTable() userTable {
	return userTable{byTag: make(map[session.Tag]uint32), list: make([]userEntry, 1)}
}

// find returns the number of a user, or 0 if the user has no sessions.
func (t *userTable) find(of session.Tag, name string) uint32 {
	i := t.byTag[of]
	for i != 0 && t.list[i].name != name {
		i = t.list[i].next
	}
	return i
}

// add returns the number of a user, and adds the user if necessary.
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

// remove removes a user.
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

// stringTable numbers strings that several records share. Number 0 is the empty string.
type stringTable struct {
	byString map[string]uint32
	list     []sharedString
	free     uint32
}

type sharedString struct {
	text string
	uses uint32
	next uint32 // the next free entry
}

func newStringTable() stringTable {
	return stringTable{byString: make(map[string]uint32), list: make([]sharedString, 1)}
}

// add returns the number of a string, and the number of bytes by which the table has grown.
func (t *stringTable) add(s []byte) (i uint32, grown int) {
	if len(s) == 0 {
		return 0, 0
	}
	if i, ok := t.byString[string(s)]; ok {
		t.list[i].uses++
		return i, 0
	}
	if i = t.free; i == 0 {
		i = uint32(len(t.list))
		t.list = append(t.list, sharedString{})
	} else {
		t.free = t.list[i].next
	}
	own := string(s)
	t.list[i] = sharedString{text: own, uses: 1}
	t.byString[own] = i
	return i, len(own)
}

// remove removes one use of a string and returns the number of bytes by which the table has shrunk.
func (t *stringTable) remove(i uint32) (shrunk int) {
	if i == 0 {
		return 0
	}
	e := &t.list[i]
	if e.uses--; e.uses > 0 {
		return 0
	}
	shrunk = len(e.text)
	delete(t.byString, e.text)
	*e = sharedString{next: t.free}
	t.free = i
	return shrunk
}

func (t *stringTable) at(i uint32) string { return t.list[i].text }

package reactor

// Key names a socket on its loop. It is a value and stays unique after the socket is gone: an event or a call that
// names a closed socket is swallowed, even if its Index has a new owner. The zero Key names nothing.
type Key struct {
	// Index is small, unique among the sockets of a loop, and used again: fit for indexing a slice.
	Index uint32
	// Gen tells the owners of an index apart.
	Gen uint32
}

// keys hands out the indexes. It holds no pointers and 8 bytes per index.
type keys struct {
	slots []slot
	free  uint32 // 1 + the first free index; 0 is none
	live  int
}

// slot is one index. Its generation is odd while it has an owner.
type slot struct {
	gen uint32
	// ref is the owner's file descriptor, or -1 for a pump; without an owner it is 1 + the next free index.
	ref int32
}

// maxIndex bounds the indexes of sockets; what is above names the loop's own descriptors in its poller.
const maxIndex = 1<<31 - 2

// take hands out an index for a descriptor, or for a pump if fd is -1.
func (t *keys) take(fd int) (Key, bool) {
	var i uint32
	switch {
	case t.free != 0:
		i = t.free - 1
		t.free = uint32(t.slots[i].ref)
	case len(t.slots) < maxIndex:
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	default:
		return Key{}, false
	}
	s := &t.slots[i]
	s.gen++
	s.ref = int32(fd)
	t.live++
	return Key{Index: i, Gen: s.gen}, true
}

// has says whether k names a socket that is on the loop.
func (t *keys) has(k Key) bool {
	return k.Index < uint32(len(t.slots)) && k.Gen&1 == 1 && t.slots[k.Index].gen == k.Gen
}

// at is the key of the present owner of an index.
func (t *keys) at(i uint32) Key { return Key{Index: i, Gen: t.slots[i].gen} }

// give takes an index back and returns the descriptor it stood for. k must be on the loop.
func (t *keys) give(k Key) (fd int) {
	s := &t.slots[k.Index]
	fd = int(s.ref)
	s.gen++
	s.ref = int32(t.free)
	t.free = k.Index + 1
	t.live--
	return fd
}

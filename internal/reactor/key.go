package reactor

// Key identifies a socket on its loop. It is a value and stays unique after the socket is gone: events and calls for a
// closed socket are ignored, even if its Index has been reused. The zero Key identifies nothing.
type Key struct {
	// Index is small, unique among the sockets of a loop, and reused: it is suitable as the index of a slice.
	Index uint32
	// Gen distinguishes the successive owners of an index.
	Gen uint32
}

// keys allocates the indexes. It holds no pointers and uses 8 bytes per index.
type keys struct {
	slots []slot
	free  uint32 // 1 + the first free index; 0 means none
	live  int
}

// slot is an index. Its generation is odd while it is in use.
type slot struct {
	gen uint32
	// ref is the owner's file descriptor, or -1 for a pump. In a free slot it is 1 + the next free index.
	ref int32
}

// maxIndex is the maximum index of a socket. Larger ones identify the loop's own descriptors in its poller.
const maxIndex = 1<<31 - 2

// take allocates an index for a descriptor, or for a pump if fd is -1.
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

// has reports whether k is the key of a socket on the loop.
func (t *keys) has(k Key) bool {
	return k.Index < uint32(len(t.slots)) && k.Gen&1 == 1 && t.slots[k.Index].gen == k.Gen
}

// at returns the key of the current owner of an index.
func (t *keys) at(i uint32) Key { return Key{Index: i, Gen: t.slots[i].gen} }

// give frees an index and returns its descriptor. k must be on the loop.
func (t *keys) give(k Key) (fd int) {
	s := &t.slots[k.Index]
	fd = int(s.ref)
	s.gen++
	s.ref = int32(t.free)
	t.free = k.Index + 1
	t.live--
	return fd
}

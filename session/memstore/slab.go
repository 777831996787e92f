package memstore

import (
	"unsafe"

	"github.com/expedite-go/expedite/session"
)

// record is a session in memory. It has no pointers: users, nodes and parameters are numbers of entries in tables.
type record struct {
	id            session.ID
	created, seen int64 // microseconds since 1970
	conn          uint64
	ttl           uint32 // milliseconds
	user          uint32 // 0 means anonymous
	node, params  uint32
	next, prev    uint32 // neighbors in the list of the user's sessions, the newest first; next also links free records
}

// A record is at most 72 bytes.
const _ = uint(72 - unsafe.Sizeof(record{}))

// chunkRecords is the number of records that are allocated together. Growing one slice by doubling would leave it half
// empty.
const chunkRecords = 1024

// slab allocates records and numbers them. No record has number 0.
type slab struct {
	chunks [][]record
	free   uint32 // the first free record, or 0
	high   uint32 // the first record that was never used
}

func (s *slab) at(i uint32) *record { return &s.chunks[i/chunkRecords][i%chunkRecords] }

// take returns the number of a free record, which is zero.
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

// used reports whether a record is in use.
func (s *slab) used(i uint32) bool { return !s.at(i).id.IsZero() }

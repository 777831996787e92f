package reactor

import (
	"encoding/binary"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// sizes remembers the latest records of a sealed socket, to tell how much of what its peer has not acknowledged was
// data.
type sizes struct {
	list [maxSizes]uint16 // a ring: the size of the content, and notData
	next uint8
	used uint8
}

// maxSizes is how many records are remembered.
const maxSizes = 32

// notData marks records that no application has sent.
const notData = 1 << 15

// add adds a record.
func (s *sizes) add(size uint16) {
	s.list[s.next] = size
	s.next = (s.next + 1) % uint8(len(s.list))
	s.used = min(s.used+1, uint8(len(s.list)))
}

// data returns how many bytes of data were in the last n bytes of the records. A record that has not arrived as a whole
// has not arrived. For more records than s remembers, it returns at least as many.
func (s *sizes) data(n int) (data int) {
	at := int(s.next)
	for range s.used {
		if n <= 0 {
			return data
		}
		at = (at + len(s.list) - 1) % len(s.list)
		size := int(s.list[at] &^ notData)
		if s.list[at]&notData == 0 {
			data += size
		}
		n -= size + tlsrecord.Overhead
	}
	return data + max(n, 0)
}

// append appends the sizes to dst, oldest first.
func (s *sizes) append(dst []byte) []byte {
	for i := range int(s.used) {
		at := (int(s.next) + len(s.list) - int(s.used) + i) % len(s.list)
		dst = binary.LittleEndian.AppendUint16(dst, s.list[at])
	}
	return dst
}

// parse reads what append has written.
func (s *sizes) parse(b []byte) bool {
	if len(b)%2 != 0 || len(b) > 2*len(s.list) {
		return false
	}
	for ; len(b) > 0; b = b[2:] {
		s.add(binary.LittleEndian.Uint16(b))
	}
	return true
}

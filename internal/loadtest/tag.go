package loadtest

// tag is the start of every message in the modes that measure: the sender, the message's number, and its time. A tag is
// ASCII, so that it can be part of a text message.
type tag struct {
	id  uint32 // 24 bits: the client, or the run that publishes
	seq uint32 // lowest 24 bits of the message's number
	at  int64  // 60 bits: nanoseconds of reactor.Monotonic
}

// tagLen is the length of a tag in bytes: a mark of two bytes, and 4, 4 and 10 digits of 6 bits each.
const tagLen = 2 + 4 + 4 + 10

const (
	tagMark0, tagMark1 = '~', 'x'
	mask24             = 1<<24 - 1
)

// digitZero is the first of the 64 consecutive characters that are digits: '0' to 'o'.
const digitZero = '0'

// put writes t to the first tagLen bytes of b.
func (t tag) put(b []byte) {
	_ = b[tagLen-1]
	b[0], b[1] = tagMark0, tagMark1
	putDigits(b[2:6], uint64(t.id))
	putDigits(b[6:10], uint64(t.seq))
	putDigits(b[10:20], uint64(t.at))
}

func putDigits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digitZero + byte(v&63)
		v >>= 6
	}
}

// parseTag parses the tag at the start of b.
func parseTag(b []byte) (t tag, ok bool) {
	if len(b) < tagLen || b[0] != tagMark0 || b[1] != tagMark1 {
		return tag{}, false
	}
	var bad byte
	t.id = uint32(digits(b[2:6], &bad))
	t.seq = uint32(digits(b[6:10], &bad))
	t.at = int64(digits(b[10:20], &bad))
	return t, bad == 0
}

func digits(b []byte, bad *byte) (v uint64) {
	for _, c := range b {
		d := c - digitZero
		*bad |= d & 0xc0
		v = v<<6 | uint64(d&63)
	}
	return v
}

// ahead returns how far seq is ahead of count, modulo 2²⁴. It is negative if seq is behind.
func ahead(seq, count uint32) int32 { return int32((seq-count)<<8) >> 8 }

package deflate

import "errors"

var (
	// ErrTooLarge means that a message is larger than the limit once it is decompressed.
	ErrTooLarge = errors.New("deflate: message is larger than the limit")
	// ErrCorrupt means that the payload of a message is no valid compressed data.
	ErrCorrupt = errors.New("deflate: invalid compressed data")
)

// maxRetained is the largest input buffer that an unused inflater keeps.
const maxRetained = 64 << 10

// Decompress decompresses a message and appends it to dst. The message may refer to dict. If it is larger than limit
// bytes, Decompress stops there and returns ErrTooLarge, and ErrCorrupt if the message is invalid; dst is then returned
// as it was. In either case the bytes behind dst, up to its capacity, may have changed.
//
// All blocks of the message are decompressed, also behind one with BFINAL (RFC 7692 §7.2.3.4), and the last one has to
// end where the message ends. A payload of no bytes is an empty message: no sender should make one (§7.2.3.6), but zlib
// accepts it. A reference is accepted if dict or the message has the bytes, even if it is farther than the window that
// was agreed on: what it means is clear. RFC 7692 §7.2.2.
func (c *Codec) Decompress(dst, payload, dict []byte, limit int) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	f, _ := c.inflaters.Get().(*inflater)
	if f == nil {
		f = newInflater()
	}
	f.in = append(append(append(f.in[:0], payload...), tail...), make([]byte, padding)...)
	f.end = len(f.in) - padding
	f.dict = dict
	f.start, f.op, f.stop = len(dst), len(dst), len(dst)+max(limit, 0)
	f.out = dst[:cap(dst)]
	f.reserve(min(4*len(payload), f.stop-f.op))
	err := f.run()
	out := f.out[:f.op]
	f.out, f.dict = nil, nil
	if cap(f.in) > maxRetained {
		f.in = nil
	}
	c.inflaters.Put(f)
	if err != nil {
		return dst, err
	}
	return out, nil
}

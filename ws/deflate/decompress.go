package deflate

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
)

var (
	// ErrTooLarge means that a message is larger than the limit once it is decompressed.
	ErrTooLarge = errors.New("deflate: message is larger than the limit")
	// ErrCorrupt means that the payload of a message is no valid compressed data.
	ErrCorrupt = errors.New("deflate: invalid compressed data")
)

// ending completes a message: the tail that the sender has removed, and a final empty block. RFC 7692 §7.2.2.
const ending = tail + "\x01\x00\x00\xff\xff"

// maxRetained is the largest input buffer that the pool keeps.
const maxRetained = 64 << 10

// decompressor is a reader of a pool.
type decompressor struct {
	r   io.ReadCloser
	src bytes.Reader // klauspost/compress has a fast path for it
	in  []byte       // the message and its ending
	one [1]byte      // for the byte that exceeds the limit
}

// Decompress decompresses a message and appends it to dst. The message may refer to dict. If it is larger than limit
// bytes, Decompress stops there and returns ErrTooLarge, and ErrCorrupt if the message is invalid; dst is then returned
// as it was. A payload of no bytes is an empty message: no sender should make one (§7.2.3.6), but zlib accepts it.
// RFC 7692 §7.2.2.
func (c *Codec) Decompress(dst, payload, dict []byte, limit int) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	d, _ := c.decompressors.Get().(*decompressor)
	if d == nil {
		d = &decompressor{}
		d.r = flate.NewReader(&d.src)
	}
	d.in = append(append(d.in[:0], payload...), ending...)
	d.src.Reset(d.in)
	out, err := d.run(dst, dict, limit)
	if cap(d.in) > maxRetained {
		d.in = nil
	}
	d.src.Reset(nil)
	_ = d.reset(nil)
	c.decompressors.Put(d)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// run decompresses d.src, which may be several streams: a sender may set BFINAL. RFC 7692 §7.2.3.4.
func (d *decompressor) run(dst, dict []byte, limit int) ([]byte, error) {
	start := len(dst)
	if limit < 0 {
		limit = 0
	}
	for {
		if err := d.reset(dict); err != nil {
			return nil, err
		}
		for {
			room := limit - (len(dst) - start)
			if room > 0 && len(dst) == cap(dst) {
				dst = slices.Grow(dst, min(room, max(len(dst)-start, 4*d.src.Len(), 512)))
			}
			free := dst[len(dst):min(cap(dst), len(dst)+room)]
			if room == 0 {
				free = d.one[:] // one byte more is too many
			}
			n, err := d.r.Read(free)
			if n > room {
				return nil, ErrTooLarge
			}
			dst = dst[:len(dst)+n]
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, ErrCorrupt
			}
		}
		if d.src.Len() == 0 {
			return dst, nil
		}
		dict = history(dict, dst[start:])
	}
}

func (d *decompressor) reset(dict []byte) error {
	return d.r.(flate.Resetter).Reset(&d.src, dict)
}

// history returns the last bytes of dict and out: the window after a final block.
func history(dict, out []byte) []byte {
	const size = 1 << maxBits
	if len(out) >= size {
		return out[len(out)-size:]
	}
	return append(slices.Clip(dict), out...)
}

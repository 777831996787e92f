package deflate

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// Levels of klauspost/compress, by cost per message of 1 KiB. Preparing a dictionary costs more at level 4 than what
// follows gains. BenchmarkCompress and docs/decisions/0016 have the figures.
const (
	levelAlone      = 4
	levelDictionary = 3
)

// tail is what a flush ends with, and what is removed from a message. RFC 7692 §7.2.1.
const tail = "\x00\x00\xff\xff"

// Compress compresses a message with a window of 1<<bits bytes, bits from 8 to 15, and appends it to dst. The message
// may refer to dict, of which at most the last 1<<bits bytes count: the receiver must have it as its window. RFC 7692
// §7.2.1.
func (c *Codec) Compress(dst, payload, dict []byte, bits uint8) []byte {
	bits = window(bits)
	room := 1 << bits
	if len(payload) <= room/2 {
		room -= len(payload) // then no distance exceeds the window, and a faster compressor serves
	}
	dict = dict[max(len(dict)-room, 0):]
	dictionary := len(dict) > 0
	var pool *sync.Pool
	switch {
	case len(dict)+len(payload) > 1<<bits && bits < maxBits:
		pool = &c.windows[maxBits-1-bits]
	case dictionary:
		pool, bits = &c.dictionary, 0
	default:
		pool, bits = &c.alone, 0
	}
	w, _ := pool.Get().(*compressor)
	if w == nil {
		w = newCompressor(bits, dictionary)
	}
	dst = w.run(dst, payload, dict)
	pool.Put(w)
	return dst
}

// compressor is a writer of a pool.
type compressor struct {
	w   *flate.Writer
	out []byte
}

// newCompressor returns a compressor with a window of 1<<bits bytes, or with the largest one if bits is 0.
func newCompressor(bits uint8, dictionary bool) *compressor {
	c := &compressor{}
	switch { // all levels and windows are valid
	case bits != 0:
		c.w, _ = flate.NewWriterWindow(c, 1<<bits)
	case dictionary:
		c.w, _ = flate.NewWriter(c, levelDictionary)
	default:
		c.w, _ = flate.NewWriter(c, levelAlone)
	}
	return c
}

// run compresses a message and keeps no reference to its arguments.
func (c *compressor) run(dst, payload, dict []byte) []byte {
	c.out = dst
	c.w.ResetDict(c, dict)
	_, _ = c.w.Write(payload) // Write of c does not fail
	_ = c.w.Flush()
	dst = c.out[:len(c.out)-len(tail)]
	c.out = nil
	c.w.ResetDict(nil, nil)
	return dst
}

// Write appends p to the message.
func (c *compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

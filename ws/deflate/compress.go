package deflate

import "github.com/klauspost/compress/flate"

// level is the level of klauspost/compress for windows of 15 bits. See docs/decisions/0016.
const level = 3

// tail is what a flush ends with, and what is removed from a message. RFC 7692 §7.2.1.
const tail = "\x00\x00\xff\xff"

// Compress compresses a message with a window of 1<<bits bytes, bits from 8 to 15, and appends it to dst. The message
// may refer to dict, of which the last 1<<bits bytes count: the receiver must have it as its window. RFC 7692 §7.2.1.
func (c *Codec) Compress(dst, payload, dict []byte, bits uint8) []byte {
	bits = window(bits)
	if over := len(dict) - 1<<bits; over > 0 {
		dict = dict[over:]
	}
	if len(dict)+len(payload) <= 1<<bits {
		bits = maxBits // no distance can exceed the window, so the faster compressor serves
	}
	pool := &c.compressors[maxBits-bits]
	w, _ := pool.Get().(*compressor)
	if w == nil {
		w = newCompressor(bits)
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

func newCompressor(bits uint8) *compressor {
	c := &compressor{}
	if bits == maxBits {
		c.w, _ = flate.NewWriter(c, level) // the level is valid
	} else {
		c.w, _ = flate.NewWriterWindow(c, 1<<bits) // so is the window
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

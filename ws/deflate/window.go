package deflate

import "slices"

// Window holds the end of what was sent or received on a connection with context takeover, in plain: the dictionary
// of the next message. RFC 7692 §7.2.3.2. The zero value is empty and ready for use. A Window grows with its contents,
// up to the size that is passed to Append. To save it, save Bytes; to restore it, append them to an empty one.
type Window struct{ b []byte }

// Append adds the plaintext of a message, and drops the oldest bytes so that at most size remain. It does not keep p. A
// larger size than in earlier calls does not bring back what they have dropped.
func (w *Window) Append(p []byte, size int) {
	p = p[max(len(p)-size, 0):]
	if over := len(w.b) + len(p) - size; over > 0 {
		w.b = w.b[:copy(w.b, w.b[over:])]
	}
	if need := len(w.b) + len(p); need > cap(w.b) {
		// Twice as much as needed, so that a history grows in few steps; never more than size.
		grown := make([]byte, len(w.b), min(2*need, size))
		copy(grown, w.b)
		w.b = grown
	}
	w.b = append(w.b, p...)
}

// Bytes returns the contents, the latest byte last. They are valid until the next call of Append or Reset.
func (w *Window) Bytes() []byte { return slices.Clip(w.b) }

// Cap returns the number of bytes that w occupies.
func (w *Window) Cap() int { return cap(w.b) }

// Reset empties w and frees its memory.
func (w *Window) Reset() { w.b = nil }

package conformance

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"slices"
	"strings"
)

// deflater compresses as a client: greedily, in blocks with the fixed code of RFC 1951 §3.2.6. It takes the most
// distant match that its window allows, to find out whether the server keeps all of it.
type deflater struct {
	window  []byte // of earlier messages; nil without context takeover
	matches int    // with data of earlier messages
}

// message returns the payload of a compressed message. RFC 7692 §7.2.1.
func (d *deflater) message(data string, a Agreed) string {
	if a.ClientNoTakeover {
		d.window = nil
	}
	before := len(d.window)
	all := append(bytes.Clone(d.window), data...)
	w := newBlock(false)
	positions := make(map[uint32][]int)
	const least = 4 // bytes of a match
	note := func(i int) {
		if i+least <= len(all) {
			k := binary.LittleEndian.Uint32(all[i:])
			positions[k] = append(positions[k], i)
		}
	}
	for i := range before {
		note(i)
	}
	for i := before; i < len(all); {
		length, distance := 0, 0
		if i+least <= len(all) {
			earlier := positions[binary.LittleEndian.Uint32(all[i:])]
			far, _ := slices.BinarySearch(earlier, i-(1<<a.ClientBits)) // the most distant one
			if far < len(earlier) {
				length, distance = matchLength(all, earlier[far], i), i-earlier[far]
			}
		}
		if length == 0 {
			w.literal(all[i])
			length = 1
		} else {
			w.match(length, distance)
			if i-distance < before {
				d.matches++
			}
		}
		for end := i + length; i < end; i++ {
			note(i)
		}
	}
	d.window = all[max(0, len(all)-maxWindow):]
	return w.finish()
}

func matchLength(b []byte, p, i int) (n int) {
	for n < 258 && i+n < len(b) && b[p+n] == b[i+n] {
		n++
	}
	return n
}

// block writes the bits of DEFLATE blocks with the fixed code.
type block struct {
	b    []byte
	acc  uint32
	have uint
}

func newBlock(final bool) *block {
	w := &block{}
	w.begin(final, 1)
	return w
}

// begin writes the header of a block. RFC 1951 §3.2.3.
func (w *block) begin(final bool, kind uint32) {
	if final {
		w.bits(1, 1)
	} else {
		w.bits(0, 1)
	}
	w.bits(kind, 2)
}

// bits writes n bits, the lowest first.
func (w *block) bits(v uint32, n uint) {
	w.acc |= v << w.have
	w.have += n
	for w.have >= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
		w.have -= 8
	}
}

// code writes a Huffman code of n bits, the highest first.
func (w *block) code(v uint32, n uint) {
	for i := range n {
		w.bits(v>>(n-1-i)&1, 1)
	}
}

// symbol writes a literal or length symbol with the fixed code. RFC 1951 §3.2.6.
func (w *block) symbol(s int) {
	switch {
	case s < 144:
		w.code(uint32(0x30+s), 8)
	case s < 256:
		w.code(uint32(0x190+s-144), 9)
	case s < 280:
		w.code(uint32(s-256), 7)
	default:
		w.code(uint32(0xc0+s-280), 8)
	}
}

func (w *block) literal(c byte) { w.symbol(int(c)) }

func (w *block) literals(s string) *block {
	for i := range len(s) {
		w.literal(s[i])
	}
	return w
}

// match writes a length of 3 to 258 and a distance of 1 to 32768.
func (w *block) match(length, distance int) *block {
	i := baseOf(lengthBase[:], length)
	w.symbol(257 + i)
	w.bits(uint32(length-lengthBase[i]), lengthBits[i])
	i = baseOf(distanceBase[:], distance)
	w.code(uint32(i), 5)
	w.bits(uint32(distance-distanceBase[i]), distanceBits[i])
	return w
}

func baseOf(bases []int, v int) int {
	i, found := slices.BinarySearch(bases, v)
	if !found {
		i--
	}
	return i
}

// align pads a byte with zeros.
func (w *block) align() *block {
	if w.have > 0 {
		w.bits(0, 8-w.have)
	}
	return w
}

// end ends the block.
func (w *block) end() *block {
	w.symbol(256)
	return w
}

// finish ends the block, and the message: an empty stored block follows, without its last four bytes. RFC 7692 §7.2.1.
func (w *block) finish() string {
	w.end().begin(false, 0)
	return string(w.align().b)
}

// bytes returns the bits written so far, padded to whole bytes.
func (w *block) bytes() string { return string(w.align().b) }

// stored returns a message in stored blocks. RFC 7692 §7.2.3.3.
func stored(data string) string {
	var b []byte
	for len(data) > 0 {
		n := min(len(data), 0xffff)
		b = append(b, 0, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
		b = append(b, data[:n]...)
		data = data[n:]
	}
	return string(append(b, 0))
}

// standard compresses with the standard library: blocks with dynamic codes.
func standard(data string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is valid
	}
	_, _ = w.Write([]byte(data)) // into memory
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// compressed returns a compressed message in one frame.
func compressed(op byte, payload string) []byte { return frame(fin|rsv1|op, payload) }

// compressedIn splits a compressed message into frames.
func compressedIn(op byte, parts ...string) []byte { return message(rsv1|op, parts...) }

package conformance

import (
	"bytes"
	"errors"
	"io"
)

// inflater decompresses the messages of a server and checks their distances, which other decoders do not report.
type inflater struct{ window []byte }

const maxWindow = 1 << 15

// message decompresses a message. RFC 7692 §7.2.2.
func (f *inflater) message(payload []byte, a Agreed) ([]byte, error) {
	if a.ServerNoTakeover {
		f.window = nil // RFC 7692 §7.1.1.1: a distance into an earlier message is a fault
	}
	bits := &bitReader{r: bytes.NewReader(append(bytes.Clone(payload), 0, 0, 0xff, 0xff))}
	out := &inflated{b: bytes.Clone(f.window), limit: 1 << a.ServerBits}
	before := len(out.b)
	for !bits.empty() {
		final, err := out.block(bits)
		if err != nil {
			return nil, broke("compressed data: %v (RFC 7692 §7.2.1)", err)
		}
		if final { // RFC 7692 §7.2.3.4: another block may follow
			bits.align()
		}
	}
	if out.tooFar > 0 {
		return nil, broke("a distance of %d with a window of %d (RFC 7692 §7.1.2.1)", out.tooFar, out.limit)
	}
	f.window = bytes.Clone(out.b[max(0, len(out.b)-maxWindow):])
	return out.b[before:], nil
}

// bitReader reads the bits of a DEFLATE stream. RFC 1951 §3.1.1.
type bitReader struct {
	r    *bytes.Reader
	acc  uint32
	have uint
}

func (b *bitReader) take(n uint) (uint32, error) {
	for b.have < n {
		c, err := b.r.ReadByte()
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		b.acc |= uint32(c) << b.have
		b.have += 8
	}
	v := b.acc & (1<<n - 1)
	b.acc >>= n
	b.have -= n
	return v, nil
}

// align drops the rest of a byte.
func (b *bitReader) align() { b.acc, b.have = 0, 0 }

func (b *bitReader) empty() bool { return b.r.Len() == 0 }

// huffman is a prefix code as in RFC 1951 §3.2.2: how many codes each length has, and the symbols in the order of
// their codes.
type huffman struct {
	counts  [16]int
	symbols []int
}

func newHuffman(lengths []int) huffman {
	h := huffman{}
	for length := 1; length < 16; length++ {
		for symbol, l := range lengths {
			if l == length {
				h.counts[length]++
				h.symbols = append(h.symbols, symbol)
			}
		}
	}
	return h
}

func (h *huffman) symbol(b *bitReader) (int, error) {
	code, first, index := 0, 0, 0
	for length := 1; length < 16; length++ {
		bit, err := b.take(1)
		if err != nil {
			return 0, err
		}
		code |= int(bit)
		n := h.counts[length]
		if code-n < first {
			return h.symbols[index+code-first], nil
		}
		index += n
		first = (first + n) << 1
		code <<= 1
	}
	return 0, errors.New("invalid code")
}

// Bases and extra bits of lengths and distances. RFC 1951 §3.2.5.
var (
	lengthBase = [...]int{
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
	}
	lengthBits   = [...]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [...]int{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
		8193, 12289, 16385, 24577,
	}
	distanceBits = [...]uint{
		0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
	}
	codeOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// inflated is output, after the window that precedes it.
type inflated struct {
	b      []byte
	limit  int // of distances
	tooFar int // a distance that exceeded it
}

// block decodes a block. RFC 1951 §3.2.3.
func (o *inflated) block(b *bitReader) (final bool, err error) {
	last, err := b.take(1)
	if err != nil {
		return false, err
	}
	kind, err := b.take(2)
	if err != nil {
		return false, err
	}
	switch kind {
	case 0:
		err = o.stored(b)
	case 1:
		err = o.coded(b, fixedLiterals(), newHuffman(repeat(5, 30)))
	case 2:
		var literals, distances huffman
		if literals, distances, err = dynamicCodes(b); err == nil {
			err = o.coded(b, literals, distances)
		}
	default:
		err = errors.New("reserved block type")
	}
	return last == 1, err
}

func (o *inflated) stored(b *bitReader) error {
	b.align()
	n, err := b.take(16)
	if err != nil {
		return err
	}
	inverse, err := b.take(16)
	if err != nil {
		return err
	}
	if n^inverse != 0xffff {
		return errors.New("the length of a stored block does not match its complement")
	}
	for range n {
		c, err := b.take(8)
		if err != nil {
			return err
		}
		o.b = append(o.b, byte(c))
	}
	return nil
}

func repeat(length, n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = length
	}
	return l
}

func fixedLiterals() huffman {
	l := append(append(append(repeat(8, 144), repeat(9, 112)...), repeat(7, 24)...), repeat(8, 8)...)
	return newHuffman(l)
}

// dynamicCodes reads the codes of a block. RFC 1951 §3.2.7.
func dynamicCodes(b *bitReader) (literals, distances huffman, err error) {
	sizes, err := b.take(14)
	if err != nil {
		return literals, distances, err
	}
	nLiterals, nDistances, nCodes := int(sizes&31)+257, int(sizes>>5&31)+1, int(sizes>>10)+4
	order := make([]int, 19)
	for i := range nCodes {
		l, err := b.take(3)
		if err != nil {
			return literals, distances, err
		}
		order[codeOrder[i]] = int(l)
	}
	codes := newHuffman(order)
	var lengths []int
	for len(lengths) < nLiterals+nDistances {
		symbol, err := codes.symbol(b)
		if err != nil {
			return literals, distances, err
		}
		if symbol < 16 {
			lengths = append(lengths, symbol)
			continue
		}
		previous, width, least := 0, [...]uint{2, 3, 7}[symbol-16], [...]int{3, 3, 11}[symbol-16]
		if symbol == 16 {
			if len(lengths) == 0 {
				return literals, distances, errors.New("no length to repeat")
			}
			previous = lengths[len(lengths)-1]
		}
		more, err := b.take(width)
		if err != nil {
			return literals, distances, err
		}
		lengths = append(lengths, repeat(previous, least+int(more))...)
	}
	if len(lengths) > nLiterals+nDistances {
		return literals, distances, errors.New("too many code lengths")
	}
	return newHuffman(lengths[:nLiterals]), newHuffman(lengths[nLiterals:]), nil
}

// coded decodes the data of a block up to its end.
func (o *inflated) coded(b *bitReader, literals, distances huffman) error {
	for {
		symbol, err := literals.symbol(b)
		switch {
		case err != nil:
			return err
		case symbol < 256:
			o.b = append(o.b, byte(symbol))
			continue
		case symbol == 256:
			return nil
		case symbol > 285:
			return errors.New("invalid length symbol")
		}
		extra, err := b.take(lengthBits[symbol-257])
		if err != nil {
			return err
		}
		length := lengthBase[symbol-257] + int(extra)
		if symbol, err = distances.symbol(b); err != nil {
			return err
		}
		if extra, err = b.take(distanceBits[symbol]); err != nil {
			return err
		}
		distance := distanceBase[symbol] + int(extra)
		if distance > len(o.b) {
			return errors.New("distance to before the window")
		}
		if distance > o.limit {
			o.tooFar = max(o.tooFar, distance)
		}
		for range length {
			o.b = append(o.b, o.b[len(o.b)-distance])
		}
	}
}

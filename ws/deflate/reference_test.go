package deflate

import "errors"

// reference is a slow decompressor, written after RFC 1951, that records how far a message refers back.
type reference struct {
	in       []byte
	at       int // bit
	out      []byte
	farthest int
	err      error
}

var (
	errReference = errors.New("reference: invalid data")
	lengthBase   = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	codeOrder    = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// inflateReference decompresses a message with all blocks that it has, whether they have BFINAL or not. It returns the
// largest distance in it. RFC 7692 §7.2.2.
func inflateReference(payload, dict []byte, limit int) (out []byte, farthest int, err error) {
	r := &reference{in: append(append([]byte(nil), payload...), tail...), out: append([]byte(nil), dict...)}
	for r.err == nil && r.at < 8*len(r.in) {
		r.block(len(dict) + limit)
	}
	return r.out[len(dict):], r.farthest, r.err
}

func (r *reference) bits(n int) int {
	v := 0
	for i := range n {
		if r.at >= 8*len(r.in) {
			r.err = errReference
			return 0
		}
		v |= int(r.in[r.at/8]>>(r.at%8)&1) << i
		r.at++
	}
	return v
}

func (r *reference) block(limit int) {
	final := r.bits(1) == 1
	switch r.bits(2) {
	case 0:
		r.at = (r.at + 7) / 8 * 8
		n, complement := r.bits(16), r.bits(16)
		if r.err != nil || n != complement^0xffff || r.at/8+n > len(r.in) {
			r.err = errReference
			return
		}
		r.out = append(r.out, r.in[r.at/8:r.at/8+n]...)
		r.at += 8 * n
		if len(r.out) > limit {
			r.err = ErrTooLarge
		}
	case 1:
		lengths := make([]int, 288)
		for i := range lengths {
			lengths[i] = [...]int{8, 9, 7, 8}[btoi(i >= 144)+btoi(i >= 256)+btoi(i >= 280)]
		}
		distances := make([]int, 30)
		for i := range distances {
			distances[i] = 5
		}
		r.symbols(lengths, distances, limit)
	case 2:
		r.dynamic(limit)
	default:
		r.err = errReference
	}
	if final {
		r.at = (r.at + 7) / 8 * 8
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *reference) dynamic(limit int) {
	nlit, ndist, nlen := r.bits(5)+257, r.bits(5)+1, r.bits(4)+4
	if nlit > 286 || ndist > 30 {
		r.err = errReference
		return
	}
	order := make([]int, 19)
	for i := range nlen {
		order[codeOrder[i]] = r.bits(3)
	}
	if !complete(order, false) {
		r.err = errReference
	}
	var lengths []int
	c := newCode(order)
	for r.err == nil && len(lengths) < nlit+ndist {
		s, last, n := r.symbol(&c), 0, 0
		switch {
		case s < 16:
			last, n = s, 1
		case s == 16 && len(lengths) > 0:
			last, n = lengths[len(lengths)-1], 3+r.bits(2)
		case s == 17:
			n = 3 + r.bits(3)
		case s == 18:
			n = 11 + r.bits(7)
		default:
			r.err = errReference
		}
		for range n {
			lengths = append(lengths, last)
		}
	}
	if r.err != nil || len(lengths) != nlit+ndist ||
		!complete(lengths[:nlit], true) || !complete(lengths[nlit:], true) {
		r.err = errReference
		return
	}
	r.symbols(lengths[:nlit], lengths[nlit:], limit)
}

// complete reports whether the lengths make a complete code. An empty code, and one with a single symbol of one bit, are
// accepted for literals and distances, as zlib and compress/flate do.
func complete(lengths []int, single bool) bool {
	sum, used := 0, 0
	for _, n := range lengths {
		if n > 0 {
			sum += 1 << (15 - n)
			used++
		}
	}
	return sum == 1<<15 || used == 0 || single && used == 1 && sum == 1<<14
}

// code is a canonical code: how many codes there are of each length, and their symbols in order. RFC 1951 §3.2.2.
type code struct {
	count   [16]int
	symbols []int
}

func newCode(lengths []int) (c code) {
	for n := 1; n < len(c.count); n++ {
		for s, l := range lengths {
			if l == n {
				c.count[n]++
				c.symbols = append(c.symbols, s)
			}
		}
	}
	return c
}

// symbol reads a symbol.
func (r *reference) symbol(c *code) int {
	value, first, index := 0, 0, 0
	for _, n := range c.count[1:] {
		if value |= r.bits(1); r.err != nil {
			return 0
		}
		if value-first < n {
			return c.symbols[index+value-first]
		}
		index += n
		first = (first + n) << 1
		value <<= 1
	}
	r.err = errReference
	return 0
}

func (r *reference) symbols(lengths, distances []int, limit int) {
	literal, distance := newCode(lengths), newCode(distances)
	for r.err == nil {
		s := r.symbol(&literal)
		switch {
		case r.err != nil || s == 256:
			return
		case s < 256:
			r.out = append(r.out, byte(s))
		case s > 285:
			r.err = errReference
		default:
			n := lengthBase[s-257] + r.bits(lengthExtra[s-257])
			d := r.symbol(&distance)
			far := 1 + d
			if d >= 4 {
				far = 1 + (2+d&1)<<(d/2-1) + r.bits(d/2-1)
			}
			if r.err != nil || d > 29 || far > len(r.out) {
				r.err = errReference
				return
			}
			r.farthest = max(r.farthest, far)
			for range n {
				r.out = append(r.out, r.out[len(r.out)-far])
			}
		}
		if len(r.out) > limit {
			r.err = ErrTooLarge
		}
	}
}

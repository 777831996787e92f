package deflate

import (
	"encoding/binary"
	"slices"
)

const (
	// padding is what the input has behind its end, so that 8 bytes can always be loaded. Bits are loaded at most 8
	// bytes before they are consumed: a load that does not fit means that more was consumed than there is.
	padding = 16
	// slack is the space that the output has before each round: three literals, the longest match, and 7 bytes because
	// matches are copied in words.
	slack = 3 + maxMatch + 7

	maxMatch = 258
)

// inflater decompresses a message from memory to memory. RFC 1951.
type inflater struct {
	in     []byte // the message, its tail and padding
	end    int    // length of in without padding
	pos    int    // bytes of in that were loaded into hold
	hold   uint64 // bits that were loaded; those above n are garbage from the byte at pos
	n      uint   // number of bits in hold
	out    []byte // the output is out[start:op]
	start  int
	op     int
	stop   int    // op must not be larger at the end of a symbol
	dict   []byte // what is in front of the output
	codes  codes
	fixed  tables // of blocks with fixed codes, made once
	custom tables // of the current block with dynamic codes
}

// tables are the decoding tables of a block.
type tables struct {
	lit, dist           []uint32
	litWidth, distWidth int
}

// newInflater returns an inflater.
func newInflater() *inflater {
	f := &inflater{
		fixed:  tables{lit: make([]uint32, fixedLiteralSize), dist: make([]uint32, fixedDistanceSize)},
		custom: tables{lit: make([]uint32, literalSize), dist: make([]uint32, distanceSize)},
	}
	f.codes.fill()
	f.codes.fixed(&f.fixed)
	return f
}

// run decompresses all blocks of the input.
func (f *inflater) run() error {
	f.pos, f.hold, f.n = 0, 0, 0
	for f.consumed() < 8*f.end {
		if err := f.block(); err != nil {
			return err
		}
	}
	if f.consumed() != 8*f.end {
		return ErrCorrupt
	}
	return nil
}

// consumed returns the number of bits that were consumed.
func (f *inflater) consumed() int { return 8*f.pos - int(f.n) }

// load fills hold with at least 56 bits.
func (f *inflater) load() bool {
	if f.pos > len(f.in)-8 {
		return false
	}
	f.hold |= binary.LittleEndian.Uint64(f.in[f.pos:]) << (f.n & 63)
	f.pos += int(63-f.n) >> 3
	f.n |= 56
	return true
}

// take consumes n bits, which must be loaded.
func (f *inflater) take(n uint) uint32 {
	v := uint32(f.hold & (1<<n - 1))
	f.hold >>= n
	f.n -= n
	return v
}

// block decompresses a block. RFC 1951 §3.2.3. A block with BFINAL does not end the message: the next one begins at the
// next byte. RFC 7692 §7.2.3.4.
func (f *inflater) block() error {
	if !f.load() {
		return ErrCorrupt
	}
	final := f.take(1) == 1
	var err error
	switch f.take(2) {
	case 0:
		err = f.stored()
	case 1:
		err = f.decode(&f.fixed)
	case 2:
		if !f.dynamicTables() {
			return ErrCorrupt
		}
		err = f.decode(&f.custom)
	default:
		return ErrCorrupt
	}
	if final {
		f.take(f.n & 7)
	}
	return err
}

// stored copies a block without compression. RFC 1951 §3.2.4.
func (f *inflater) stored() error {
	f.take(f.n & 7)
	n, complement := f.take(16), f.take(16) // 53 bits were left after the header, at most 7 of them padding
	f.pos -= int(f.n >> 3)
	f.hold, f.n = 0, 0
	switch {
	case n != complement^0xffff, f.pos+int(n) > f.end:
		return ErrCorrupt
	case int(n) > f.stop-f.op:
		return ErrTooLarge
	}
	f.reserve(int(n))
	f.op += copy(f.out[f.op:], f.in[f.pos:f.pos+int(n)])
	f.pos += int(n)
	return nil
}

// reserve makes room for n bytes of output and slack. The output grows to about twice its size, but not beyond its
// limit.
func (f *inflater) reserve(n int) {
	if f.op+n+slack <= len(f.out) {
		return
	}
	used := f.op - f.start
	more := max(n, min(used, f.stop-f.op))
	f.out = slices.Grow(f.out[:f.op], more+slack)
	f.out = f.out[:cap(f.out)]
}

// decode decompresses the symbols of a block.
func (f *inflater) decode(t *tables) error {
	lit, dist := t.lit, t.dist
	in, out, pos, hold, n, op := f.in, f.out, f.pos, f.hold, f.n, f.op
	litMask, distMask := uint64(1)<<t.litWidth-1, uint64(1)<<t.distWidth-1
	for {
		if op+slack > len(out) {
			f.op = op
			f.reserve(0)
			out = f.out
		}
		if pos > len(in)-8 {
			return ErrCorrupt
		}
		hold |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		e := lit[hold&litMask]
		// Of the 56 bits, three literals take at most 30 here, and a match 48.
		for i := 0; i < 3 && e&entryLiteral != 0; i++ {
			out[op] = byte(e >> entryValue)
			op++
			hold, n = drop(hold, n, e)
			e = lit[hold&litMask]
		}
		if n < 48 || e&entryLiteral != 0 {
			if op > f.stop {
				return ErrTooLarge
			}
			continue
		}
		if e&entryOther != 0 {
			if e&entryLink != 0 {
				hold, n = drop(hold, n, e)
				e = lit[linked(e, hold)]
			}
			if e&entryOther != 0 {
				f.pos, f.op = pos, op
				f.hold, f.n = drop(hold, n, e)
				return f.ended(e)
			}
			if e&entryLiteral != 0 {
				out[op] = byte(e >> entryValue)
				op++
				hold, n = drop(hold, n, e)
				continue
			}
		}
		length := valueOf(e, hold)
		hold, n = drop(hold, n, e)
		if e = dist[hold&distMask]; e&entryLink != 0 {
			hold, n = drop(hold, n, e)
			e = dist[linked(e, hold)]
		}
		distance := valueOf(e, hold)
		hold, n = drop(hold, n, e)
		switch {
		case e&entryOther != 0:
			return ErrCorrupt
		case op+length > f.stop:
			return ErrTooLarge
		case distance <= op-f.start:
			copyMatch(out, op, distance, length)
		case !f.fromDict(out, op, distance, length):
			return ErrCorrupt
		}
		op += length
	}
}

// drop consumes the bits of an entry.
func drop(hold uint64, n uint, e uint32) (uint64, uint) { return hold >> (e & 63), n - uint(e&63) }

// valueOf returns the value of an entry together with its extra bits.
func valueOf(e uint32, hold uint64) int {
	return int(e>>entryValue) + int(hold&(1<<(e&63)-1)>>(e>>entryCode&63))
}

// linked returns the position of the entry to which a link leads.
func linked(e uint32, hold uint64) uint64 {
	return uint64(e>>entryValue) + hold&(1<<(e>>entryCode&63)-1)
}

// ended returns the result of a block that stops at e, which is neither a literal nor a length.
func (f *inflater) ended(e uint32) error {
	switch {
	case e&^63&^(63<<entryCode) != entryEnd:
		return ErrCorrupt
	case f.op > f.stop:
		return ErrTooLarge
	}
	return nil
}

// fromDict copies a match that begins in the dictionary. It reports false if it begins before it.
func (f *inflater) fromDict(out []byte, op, distance, length int) bool {
	back := distance - (op - f.start)
	if back > len(f.dict) {
		return false
	}
	n := copy(out[op:op+length], f.dict[len(f.dict)-back:])
	copyMatch(out, op+n, distance, length-n)
	return true
}

// copyMatch copies a match within the output. It may write 7 bytes more.
func copyMatch(out []byte, op, distance, length int) {
	from, end := op-distance, op+length
	switch {
	case distance >= 8:
		for ; op < end; op += 8 {
			binary.LittleEndian.PutUint64(out[op:], binary.LittleEndian.Uint64(out[from:]))
			from += 8
		}
	case length <= 16:
		for ; op < end; op++ {
			out[op] = out[from]
			from++
		}
	default: // each copy doubles what repeats
		for op < end {
			op += copy(out[op:end], out[from:op])
		}
	}
}

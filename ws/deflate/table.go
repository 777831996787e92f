package deflate

import "math/bits"

// An entry of a decoding table is a symbol, or a part of it if its code is longer than the table is wide.
//
//	bits 0-5    number of bits to consume: the code, and the extra bits behind it
//	bits 8-13   length of the code; in a link, number of bits that index the second table
//	bit 14      link: the code is longer, and its second table begins at the value
//	bit 15      not a literal, length or distance: a link, the end of the block, or an invalid code
//	bits 16-30  value: literal, smallest length, smallest distance, or position
//	bit 31      literal
const (
	entryCode    = 8
	entryLink    = 1 << 14
	entryOther   = 1 << 15
	entryValue   = 16
	entryLiteral = 1 << 31
	entryEnd     = entryOther | 1<<entryValue
	entryInvalid = entryOther
)

const (
	maxCode    = 15  // longest code in bits
	literals   = 288 // codes for literals and lengths, including two that never occur
	distances  = 32  // codes for distances, including two that never occur
	endOfBlock = 256
)

// Widths of the tables in bits, and sizes that suffice for every complete code. zlib's enough.c computes them for 286
// and 30 symbols: 1332, and 402. The code for code lengths has at most 7 bits.
const (
	literalBits, literalSize   = 10, 1334
	distanceBits, distanceSize = 8, 402
	lengthBits, lengthSize     = 7, 128

	fixedLiteralSize, fixedDistanceSize = 1 << 9, 1 << 5
)

// builder makes decoding tables of canonical codes. RFC 1951 §3.2.2.
type builder struct {
	count  [maxCode + 1]uint16
	sorted [literals]uint16 // symbols, by length of their code, then by number
}

// build fills table for codes of the given lengths, where 0 is a symbol without code. entries are those of the
// symbols, without the code. It returns the width of the table, at most width, or 0 if the code is over-subscribed or
// incomplete. If lone is set, an empty code and a code of one symbol with one bit are valid, as in zlib.
func (b *builder) build(table []uint32, lengths []uint8, entries []uint32, width int, lone bool) int {
	longest := b.sort(lengths)
	if longest <= 1 && b.count[1] < 2 {
		if !lone {
			return 0
		}
		table[0], table[1] = entryInvalid, entryInvalid
		if longest == 1 {
			table[0] = entries[b.sorted[0]] + 1<<entryCode + 1
		}
		return 1
	}
	space := 1 // codes of the current length that are left
	for n := 1; n <= longest; n++ {
		if space = space<<1 - int(b.count[n]); space < 0 {
			return 0
		}
	}
	if space != 0 {
		return 0
	}
	width = min(width, longest)
	code, next := b.short(table, entries, width)
	if !b.long(table, entries, width, code, next) {
		return 0
	}
	return width
}

// sort counts the lengths and sorts the symbols. It returns the longest length.
func (b *builder) sort(lengths []uint8) (longest int) {
	b.count = [maxCode + 1]uint16{}
	for _, n := range lengths {
		b.count[n&maxCode]++
	}
	b.count[0] = 0
	var at [maxCode + 2]uint16
	for n := 1; n <= maxCode; n++ {
		at[n+1] = at[n] + b.count[n]
		if b.count[n] != 0 {
			longest = n
		}
	}
	for s, n := range lengths {
		if n != 0 {
			b.sorted[at[n&maxCode]] = uint16(s)
			at[n&maxCode]++
		}
	}
	return longest
}

// short enters the codes of at most width bits. Codes are read from the low end, so their bits are reversed here. It
// returns the next code and the next symbol.
func (b *builder) short(table, entries []uint32, width int) (code uint32, next int) {
	for n := 1; n <= width; n++ {
		for range b.count[n] {
			table[code] = entries[b.sorted[next]] + uint32(n)<<entryCode + uint32(n)
			next++
			code = increment(code, n)
		}
		if n < width { // a code of n bits is in the table once per value of the bits behind it
			copy(table[1<<n:1<<(n+1)], table[:1<<n])
		}
	}
	return code, next
}

// long enters the longer codes, if there are any, into second tables behind the first.
func (b *builder) long(table, entries []uint32, width int, code uint32, next int) bool {
	mask, prefix := uint32(1)<<width-1, ^uint32(0)
	var start, size int
	end := 1 << width
	for n := width + 1; n <= maxCode; n++ {
		for done := range b.count[n] {
			if code&mask != prefix {
				prefix = code & mask
				more := n - width
				// The code is complete, so that the longest codes fill the table at the latest.
				for space := int(b.count[n] - done); space < 1<<more; {
					more++
					space = space<<1 + int(b.count[width+more])
				}
				start, size = end, 1<<more
				if end += size; end > len(table) {
					return false // cannot happen, see the sizes
				}
				table[prefix] = uint32(start)<<entryValue | entryOther | entryLink | uint32(more)<<entryCode | uint32(width)
			}
			e := entries[b.sorted[next]] + uint32(n-width)<<entryCode + uint32(n-width)
			for i := int(code >> width); i < size; i += 1 << (n - width) {
				table[start+i] = e
			}
			next++
			code = increment(code, n)
		}
	}
	return true
}

// increment returns the code after code, both reversed and n bits long. The code after the last one is the last one.
func increment(code uint32, n int) uint32 {
	zeros := ^code & (1<<n - 1)
	if zeros == 0 {
		return code
	}
	top := uint32(1) << (bits.Len32(zeros) - 1)
	return code&(top-1) | top
}

package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// textState validates UTF-8 text that arrives in pieces. The zero value expects the start of a text. It holds just
// enough to judge the next byte: how many bytes of the current character are missing, and the range of the next one.
// RFC 3629 §4.
type textState struct {
	missing uint8 // bytes of the character that are missing
	low     uint8 // minimum of the next byte
	high    uint8 // maximum of the next byte
}

// complete reports whether the text may end here, which is not within a character.
func (u *textState) complete() bool { return u.missing == 0 }

// write validates the next piece. It returns the number of valid bytes: len(b), or the index of the first byte that
// cannot follow what came before. In the second case the state must not be used again.
func (u *textState) write(b []byte) int {
	i := 0
	for i < len(b) {
		if u.missing == 0 {
			i = skipWhole(b, i)
			if i == len(b) {
				return i
			}
			if !u.lead(b[i]) {
				return i
			}
			i++
			continue
		}
		if b[i] < u.low || b[i] > u.high {
			return i
		}
		u.missing--
		u.low, u.high = 0x80, 0xbf
		i++
	}
	return i
}

// lead begins a character of several bytes. It reports whether c may start one.
func (u *textState) lead(c byte) bool {
	u.low, u.high = 0x80, 0xbf
	switch {
	case c < utf8.RuneSelf:
		return true
	case c >= 0xc2 && c <= 0xdf:
		u.missing = 1
	case c >= 0xe0 && c <= 0xef:
		u.missing = 2
		switch c {
		case 0xe0:
			u.low = 0xa0 // else overlong
		case 0xed:
			u.high = 0x9f // else a surrogate
		}
	case c >= 0xf0 && c <= 0xf4:
		u.missing = 3
		switch c {
		case 0xf0:
			u.low = 0x90 // else overlong
		case 0xf4:
			u.high = 0x8f // else beyond U+10FFFF
		}
	default:
		return false
	}
	return true
}

// skipWhole skips complete valid characters from index i on and returns the index of the first byte that the bytewise
// check must judge, because it is invalid or near the end of b. It judges each character by the bits of four bytes at
// once, which is 3 to 5 times as fast as byte by byte for Greek, CJK and emoji (BenchmarkUTF8).
func skipWhole(b []byte, i int) int {
	i = skipASCII(b, i)
	for len(b)-i >= 4 {
		w := binary.LittleEndian.Uint32(b[i:])
		switch {
		case w&0x80 == 0:
			if w&0x80808080 == 0 {
				i = skipASCII(b, i)
			} else {
				i++
			}
		case w&0xc0e0 == 0x80c0 && w&0x1e != 0: // not overlong
			i += 2
		case w&0xc0c0f0 == 0x8080e0 && w&0x200f != 0 && w&0x200f != 0x200d: // neither overlong nor a surrogate
			i += 3
		case w&0xc0c0c0f8 == 0x808080f0 && w&0x3007 != 0 && w&7 < 4, // not overlong
			w&0xc0c0f0ff == 0x808080f4: // up to U+10FFFF
			i += 4
		default:
			return i
		}
	}
	return skipASCII(b, i)
}

const highBits = 0x8080808080808080

// skipASCII returns the index of the first byte at or after i that is not ASCII.
func skipASCII(b []byte, i int) int {
	for len(b)-i >= 32 {
		p := b[i : i+32 : i+32]
		if (binary.LittleEndian.Uint64(p)|binary.LittleEndian.Uint64(p[8:])|
			binary.LittleEndian.Uint64(p[16:])|binary.LittleEndian.Uint64(p[24:]))&highBits != 0 {
			break
		}
		i += 32
	}
	for len(b)-i >= 8 && binary.LittleEndian.Uint64(b[i:])&highBits == 0 {
		i += 8
	}
	if len(b)-i >= 4 && binary.LittleEndian.Uint32(b[i:])&(highBits>>32) == 0 {
		i += 4
	}
	for i < len(b) && b[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// valid reports whether write can have left u like this. A wider range would accept invalid text.
func (u *textState) valid() bool {
	next := [2]byte{u.low, u.high}
	switch {
	case u.missing == 0:
		return true
	case next == [2]byte{0x80, 0xbf}:
		return u.missing <= 3
	case next == [2]byte{0xa0, 0xbf}, next == [2]byte{0x80, 0x9f}: // after 0xe0, 0xed
		return u.missing == 2
	case next == [2]byte{0x90, 0xbf}, next == [2]byte{0x80, 0x8f}: // after 0xf0, 0xf4
		return u.missing == 3
	default:
		return false
	}
}

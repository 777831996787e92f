package engine

import "errors"

// extent finds the end of a request in its bytes: that of the head, and that of a body of known length or in chunks. It
// is at least as strict as net/http, so both agree on the end of every body that both accept. RFC 9112 §6.3, §7.1.
type extent struct {
	left   uint64 // bytes of the head and a body of known length, or of the chunk's data
	digits int    // of the chunk's size
	stage  extentStage
}

type extentStage uint8

const (
	inPlain       extentStage = iota // left bytes, then the end
	inHead                           // left bytes, then chunks
	inSize                           // of a chunk, in hexadecimal digits
	inExtension                      // of a chunk, up to the carriage return
	inSizeEnd                        // a line feed is next
	inData                           // left bytes
	inDataCR                         // a carriage return is next
	inDataLF                         // a line feed is next
	inTrailer                        // at the start of a line
	inTrailerLine                    // up to the carriage return
	inTrailerEnd                     // a line feed is next
	inLastLF                         // the last line feed is next
	extentOver
)

// errChunk says that the chunks of a body are malformed.
var errChunk = errors.New("engine: malformed chunk in a request body")

// newExtent is that of a request with a head of so many bytes and a body of length, which is -1 for chunks.
func newExtent(head int, length int64) extent {
	if length < 0 {
		return extent{left: uint64(head), stage: inHead}
	}
	return extent{left: uint64(head) + uint64(length)}
}

// over says that the request has ended.
func (x *extent) over() bool { return x.stage == extentOver }

// take returns the number of bytes at the start of b that belong to the request.
func (x *extent) take(b []byte) (n int, err error) {
	for n < len(b) && x.stage != extentOver {
		switch x.stage {
		case inPlain, inHead, inData:
			some := min(x.left, uint64(len(b)-n))
			n += int(some)
			if x.left -= some; x.left == 0 {
				x.stage = [...]extentStage{inPlain: extentOver, inHead: inSize, inData: inDataCR}[x.stage]
			}
		default:
			if !x.step(b[n]) {
				return n, errChunk
			}
			n++
		}
	}
	return n, nil
}

// maxChunkDigits bounds the size of a chunk to what a signed number of 64 bits holds.
const maxChunkDigits = 15

// step takes a byte between the data of two chunks. It reports whether the byte may stand there.
func (x *extent) step(c byte) bool {
	next := x.stage
	switch x.stage {
	case inSize:
		return x.size(c)
	case inExtension:
		if c == '\r' {
			next = inSizeEnd
		} else if c == '\n' {
			return false
		}
	case inSizeEnd:
		next = inData
		if x.left == 0 {
			next = inTrailer
		}
		x.stage, x.digits = next, 0
		return c == '\n'
	case inDataCR:
		x.stage = inDataLF
		return c == '\r'
	case inDataLF:
		x.stage = inSize
		return c == '\n'
	case inTrailer, inTrailerLine:
		switch {
		case c == '\n':
			return false
		case c != '\r':
			next = inTrailerLine
		case x.stage == inTrailer:
			next = inLastLF
		default:
			next = inTrailerEnd
		}
	case inTrailerEnd:
		x.stage = inTrailer
		return c == '\n'
	case inLastLF:
		if c != '\n' {
			return false
		}
		next = extentOver
	}
	x.stage = next
	return true
}

// size takes a byte of a chunk's size, or the one behind it.
func (x *extent) size(c byte) bool {
	var digit byte
	switch {
	case c >= '0' && c <= '9':
		digit = c - '0'
	case c >= 'a' && c <= 'f':
		digit = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		digit = c - 'A' + 10
	case x.digits > 0 && (c == ';' || c == ' ' || c == '\t'):
		x.stage = inExtension
		return true
	case x.digits > 0 && c == '\r':
		x.stage = inSizeEnd
		return true
	default:
		return false
	}
	x.left = x.left<<4 | uint64(digit)
	x.digits++
	return x.digits <= maxChunkDigits
}

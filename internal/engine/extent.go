package engine

import "errors"

// extent finds the end of a request in its bytes: the end of the head, and that of a body of known length or in chunks.
// It is at least as strict as net/http, so both agree on the end of every body that both accept. RFC 9112 §6.3, §7.1.
type extent struct {
	left   uint64 // bytes of the head and of a body of known length, or of chunk data
	digits int    // digits of the chunk size so far
	stage  extentStage
}

type extentStage uint8

const (
	inPlain       extentStage = iota // left bytes, then the end
	inHead                           // left bytes, then chunks
	inSize                           // in the hexadecimal chunk size
	inExtension                      // in the chunk extension, before the carriage return
	inSizeEnd                        // before the line feed after the chunk size
	inData                           // left bytes of chunk data
	inDataCR                         // before the carriage return after chunk data
	inDataLF                         // before the line feed after chunk data
	inTrailer                        // at the start of a trailer line
	inTrailerLine                    // in a trailer line, before the carriage return
	inTrailerEnd                     // before the line feed of a trailer line
	inLastLF                         // before the last line feed
	extentOver
)

// errChunk means that a chunked body is malformed.
var errChunk = errors.New("engine: malformed chunk in a request body")

// newExtent returns the extent of a request with a head of head bytes and a body of length bytes, or a chunked one if
// length is -1.
func newExtent(head int, length int64) extent {
	if length < 0 {
		return extent{left: uint64(head), stage: inHead}
	}
	return extent{left: uint64(head) + uint64(length)}
}

// over reports whether the request has ended.
func (x *extent) over() bool { return x.stage == extentOver }

// take returns how many bytes at the start of b belong to the request.
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

// maxChunkDigits limits the size of a chunk to what a signed 64-bit number can hold.
const maxChunkDigits = 15

// step processes a byte outside chunk data. It reports whether the byte is valid there.
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

// size processes a byte of a chunk size, or the byte after it.
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

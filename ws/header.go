package ws

import (
	"encoding/binary"
	"math"
)

const (
	// MaxHeader is the length of the longest frame header in bytes.
	MaxHeader = 14
	// maxControl is the longest payload of a control frame. RFC 6455 §5.5.
	maxControl = 125
)

// Header is what stands before the payload of a frame. RFC 6455 §5.2.
type Header struct {
	Fin    bool
	RSV    uint8 // the three reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3
	Opcode Opcode
	Masked bool
	Key    uint32 // masking key: its four bytes on the wire, read in little-endian order
	Length uint64 // of the payload, in bytes; below 1<<63
}

// ParseHeader reads a header from the start of b. n is its length; 0 without an error asks for more bytes. A length
// that is not written in its shortest form, or has its top bit set, is a *ProtocolError. Anything else is for the
// caller to judge. RFC 6455 §5.2.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return Header{}, 0, nil
	}
	h.Fin, h.RSV, h.Opcode = b[0]&0x80 != 0, b[0]>>4&0x7, Opcode(b[0]&0x0f)
	h.Masked, h.Length, n = b[1]&0x80 != 0, uint64(b[1]&0x7f), 2
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return Header{}, 0, nil
		}
		h.Length, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if h.Length < 126 {
			return Header{}, 0, errLengthForm
		}
	case 127:
		if len(b) > 2 && b[2]&0x80 != 0 {
			return Header{}, 0, errLengthBit
		}
		if len(b) < 10 {
			return Header{}, 0, nil
		}
		h.Length, n = binary.BigEndian.Uint64(b[2:]), 10
		if h.Length <= math.MaxUint16 {
			return Header{}, 0, errLengthForm
		}
	}
	if h.Masked {
		if len(b) < n+4 {
			return Header{}, 0, nil
		}
		h.Key = binary.LittleEndian.Uint32(b[n:])
		n += 4
	}
	return h, n, nil
}

// AppendHeader appends h to dst.
func AppendHeader(dst []byte, h Header) []byte {
	first := byte(h.Opcode) | h.RSV<<4
	if h.Fin {
		first |= 0x80
	}
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length < 126:
		dst = append(dst, first, mask|byte(h.Length))
	case h.Length <= math.MaxUint16:
		dst = append(dst, first, mask|126, byte(h.Length>>8), byte(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, mask|127), h.Length)
	}
	if h.Masked {
		dst = binary.LittleEndian.AppendUint32(dst, h.Key)
	}
	return dst
}

// FrameLen is the length of a server's frame with a payload of n bytes.
func FrameLen(n int) int {
	switch {
	case n < 126:
		return 2 + n
	case n <= math.MaxUint16:
		return 4 + n
	default:
		return 10 + n
	}
}

// AppendFrame appends a whole server's message: one frame, not masked.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	if len(payload) < 126 {
		dst = append(dst, 0x80|byte(op), byte(len(payload)))
		return append(dst, payload...)
	}
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Length: uint64(len(payload))})
	return append(dst, payload...)
}

// AppendMaskedFrame appends a whole client's message: one frame, masked with key, which must come from a source of
// strong entropy. RFC 6455 §5.3. The payload itself is not changed.
func AppendMaskedFrame(dst []byte, op Opcode, key uint32, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Masked: true, Key: key, Length: uint64(len(payload))})
	at := len(dst)
	dst = append(dst, payload...)
	Mask(dst[at:], key, 0)
	return dst
}

package ws

import (
	"encoding/binary"
	"math"
)

const (
	// MaxHeader is the maximum length of a frame header in bytes.
	MaxHeader = 14
	// maxControl is the maximum payload of a control frame in bytes. RFC 6455 §5.5.
	maxControl = 125
)

// Header is the header of a frame. RFC 6455 §5.2.
type Header struct {
	Fin    bool
	RSV    uint8 // reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3
	Opcode Opcode
	Masked bool
	Key    uint32 // masking key: its four bytes on the wire as a little-endian number
	Length uint64 // length of the payload in bytes; below 1<<63
}

// ParseHeader parses the header at the start of b. n is its length; if n is 0 and err is nil, the header is incomplete.
// A length that is not in its shortest form, or has its top bit set, is a *ProtocolError. ParseHeader checks nothing
// else. RFC 6455 §5.2.
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

// FrameLen returns the length of a server frame with a payload of n bytes.
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

// AppendFrame appends a message of a server to dst, as one unmasked frame.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	if len(payload) < 126 {
		dst = append(dst, 0x80|byte(op), byte(len(payload)))
		return append(dst, payload...)
	}
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Length: uint64(len(payload))})
	return append(dst, payload...)
}

// AppendMaskedFrame appends a message of a client to dst, as one frame masked with key. The key must come from a strong
// source of entropy. RFC 6455 §5.3. The payload is not changed.
func AppendMaskedFrame(dst []byte, op Opcode, key uint32, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Masked: true, Key: key, Length: uint64(len(payload))})
	at := len(dst)
	dst = append(dst, payload...)
	Mask(dst[at:], key, 0)
	return dst
}

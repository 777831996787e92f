package ws

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrState means that bytes are not the state of a Reader, or that they hold a record of a later version that must not
// be ignored.
var ErrState = errors.New("ws: bad reader state")

// stateVersion is the first byte of a state. The rest of a state is a list of records: tag (1), length (1), value.
// Numbers are little-endian. LoadState skips unknown tags from optionalTag on and refuses all others.
//
// This is not the format of internal/record, where a length is a uvarint: a control frame of which 121 bytes or more
// have arrived makes a record of 128 to 131 bytes, and the formats differ from 128 on.
const stateVersion = 1

const (
	tagMessage  = 0x01 // flags, opcode, total (8), fragments (4), text (3)
	tagFrame    = 0x02 // left (8), key (4)
	tagHead     = 0x03 // bytes of an incomplete header
	tagControl  = 0x04 // opcode, masked (0 or 1), length, key (4), payload so far, still masked
	tagDone     = 0x05 // empty
	optionalTag = 0x80
)

// AppendState appends the state of r to dst. With LoadState, a Reader in another process, or of another version of this
// package, continues between the same two bytes.
func (r *Reader) AppendState(dst []byte) []byte {
	dst = append(dst, stateVersion)
	if r.flags&flagDone != 0 {
		return append(dst, tagDone, 0)
	}
	if r.flags&flagMessage != 0 {
		dst = append(dst, tagMessage, 17, byte(r.flags), byte(r.opcode))
		dst = binary.LittleEndian.AppendUint64(dst, r.total)
		dst = binary.LittleEndian.AppendUint32(dst, r.fragments)
		text := r.text
		if text.complete() {
			text = textState{} // one encoding for one meaning
		}
		dst = append(dst, text.missing, text.low, text.high)
	}
	if r.flags&flagFrame != 0 {
		dst = append(dst, tagFrame, 12)
		dst = binary.LittleEndian.AppendUint64(dst, r.left)
		dst = binary.LittleEndian.AppendUint32(dst, r.key)
	}
	if r.headLen > 0 {
		dst = append(dst, tagHead, r.headLen)
		dst = append(dst, r.head[:r.headLen]...)
	}
	if c := r.control; c != nil {
		masked := byte(0)
		if c.header.Masked {
			masked = 1
		}
		dst = append(dst, tagControl, byte(7+c.n), byte(c.header.Opcode), masked, byte(c.header.Length))
		dst = binary.LittleEndian.AppendUint32(dst, c.header.Key)
		dst = append(dst, c.buf[:c.n]...)
	}
	return dst
}

// LoadState replaces the state of r by one that AppendState wrote. If b is not such a state, it returns ErrState and
// leaves r unchanged; b may hold anything.
func (r *Reader) LoadState(b []byte) error {
	if len(b) == 0 || b[0] != stateVersion {
		return fmt.Errorf("%w: unknown version", ErrState)
	}
	var s Reader
	seen := make(map[byte]bool, 4)
	for b = b[1:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return fmt.Errorf("%w: cut off", ErrState)
		}
		tag, value := b[0], b[2:2+int(b[1])]
		b = b[2+len(value):]
		if seen[tag] || !s.loadRecord(tag, value) {
			return fmt.Errorf("%w: record %#x", ErrState, tag)
		}
		seen[tag] = true
	}
	if !s.plausible() {
		return fmt.Errorf("%w: records contradict each other", ErrState)
	}
	*r = s
	return nil
}

func (r *Reader) loadRecord(tag byte, v []byte) bool {
	switch tag {
	case tagMessage:
		if len(v) != 17 {
			return false
		}
		r.flags |= readerFlags(v[0])
		r.opcode = Opcode(v[1])
		r.total = binary.LittleEndian.Uint64(v[2:])
		r.fragments = binary.LittleEndian.Uint32(v[10:])
		r.text = textState{missing: v[14], low: v[15], high: v[16]}
	case tagFrame:
		if len(v) != 12 {
			return false
		}
		r.left, r.key = binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint32(v[8:])
	case tagHead:
		r.headLen = uint8(copy(r.head[:], v))
		_, n, err := ParseHeader(v)
		return r.headLen > 0 && n == 0 && err == nil // a complete header, of at most MaxHeader, would not have been kept
	case tagControl:
		return r.loadControl(v)
	case tagDone:
		r.flags |= flagDone
		return len(v) == 0
	default:
		return tag >= optionalTag
	}
	return true
}

func (r *Reader) loadControl(v []byte) bool {
	if len(v) < 7 || v[1] > 1 {
		return false
	}
	h := Header{Fin: true, Opcode: Opcode(v[0]), Masked: v[1] == 1, Length: uint64(v[2])}
	h.Key = binary.LittleEndian.Uint32(v[3:])
	if !h.Opcode.IsControl() || !h.Opcode.known() || h.Length > maxControl || uint64(len(v)-7) >= h.Length {
		return false
	}
	r.control = &partialControl{header: h}
	r.control.n = copy(r.control.buf[:], v[7:])
	return true
}

// plausible reports whether Next can have left r like this.
func (r *Reader) plausible() bool {
	const known = flagMessage | flagFrame | flagFin | flagBegun | flagCompressed | flagDone
	message, frame := r.flags&flagMessage != 0, r.flags&flagFrame != 0
	switch {
	case r.flags&^known != 0:
		return false
	case r.flags&flagDone != 0:
		return r.flags == flagDone && r.headLen == 0 && r.control == nil && r.left == 0
	case !message && (r.flags != 0 || r.total != 0 || r.fragments != 0 || r.opcode != 0):
		return false
	case message && r.opcode != OpText && r.opcode != OpBinary, message && r.fragments == 0:
		return false
	case !frame && (r.left != 0 || r.flags&flagFin != 0), frame && r.left == 0:
		return false
	case frame && (r.headLen > 0 || r.control != nil), r.headLen > 0 && r.control != nil:
		return false
	default:
		return r.left <= r.total && r.total < 1<<63 && r.text.valid()
	}
}

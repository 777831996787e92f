package tlsrecord

import (
	"encoding/binary"
	"errors"
)

// The state of a direction, little endian. It holds its secret: it may be in memory, in a socketpair and in a sealed
// memfd, and nowhere else.
//
//	version 1 · suite 2 · sequence number 8 · flags 1 · useless 1 · credit 1 · fed 1 · parts 1 · part 5 · secret
const (
	stateVersion = 1
	stateHeader  = 1 + 2 + 8 + 1 + 1 + 1 + 1 + 1 + KeyUpdateSize
	flagClosed   = 1
)

// MaxState is the maximum size of the state of a direction.
const MaxState = stateHeader + maxSecret

var errState = errors.New("tlsrecord: not the state of a direction")

// AppendState appends what ParseReader needs.
func (r *Reader) AppendState(dst []byte) []byte {
	dst = r.appendHead(dst, r.closed)
	first := byte(0)
	if r.parts > 0 {
		first = keyUpdate
	}
	dst = append(dst, r.useless, r.credit, r.fed, r.parts, first)
	dst = append(dst, r.part[:]...)
	return r.appendSecret(dst)
}

// AppendState appends what ParseWriter needs.
func (w *Writer) AppendState(dst []byte) []byte {
	dst = w.appendHead(dst, w.closed)
	dst = append(dst, make([]byte, 4+KeyUpdateSize)...)
	return w.appendSecret(dst)
}

func (h *half) appendHead(dst []byte, closed bool) []byte {
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint16(dst, h.suite)
	dst = binary.LittleEndian.AppendUint64(dst, h.seq)
	if closed {
		return append(dst, flagClosed)
	}
	return append(dst, 0)
}

func (h *half) appendSecret(dst []byte) []byte {
	s, _ := suiteOf(h.suite) // there is none after Erase
	return append(dst, h.secret[:s.secret]...)
}

// ParseReader continues with a state. It copies what it keeps. There is no cipher until the next record, see Rest.
func ParseReader(b []byte) (*Reader, error) {
	r := new(Reader)
	rest, err := r.parseHead(b, &r.closed)
	if err != nil {
		return nil, err
	}
	r.useless, r.credit, r.fed, r.parts = rest[0], rest[1], rest[2], rest[3]
	copy(r.part[:], rest[5:])
	if r.useless > maxUseless || r.credit > maxCredit || r.fed >= dataPerUpdate || r.parts >= KeyUpdateSize ||
		r.parts > 0 && rest[4] != keyUpdate {
		return nil, errState
	}
	return r, nil
}

// ParseWriter continues with a state, as ParseReader does.
func ParseWriter(b []byte) (*Writer, error) {
	w := new(Writer)
	if _, err := w.parseHead(b, &w.closed); err != nil {
		return nil, err
	}
	return w, nil
}

// parseHead starts h, and returns what is between the flags and the secret.
func (h *half) parseHead(b []byte, closed *bool) (rest []byte, err error) {
	if len(b) < stateHeader || b[0] != stateVersion || b[11] > flagClosed {
		return nil, errState
	}
	*closed = b[11] == flagClosed
	suite, seq := binary.LittleEndian.Uint16(b[1:]), binary.LittleEndian.Uint64(b[3:])
	return b[12:stateHeader], h.start(suite, b[stateHeader:], seq)
}

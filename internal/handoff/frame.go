package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The kinds of frames.
const (
	kindHello   byte = iota + 1
	kindBatch        // number (4), position (8), time of the freeze (8), states + the sockets
	kindAck          // number (4); with protocol 2 maybe: how many were refused (1), their places (2 each), a reason
	kindNack         // number (4), reason
	kindForward      // message
	kindEnd          // number of connections (8)
	kindGot
	kindRevert // reason
	kindLast
)

// protocol is the version of these frames. A later version must also support the earlier ones, from protocolMin on.
const (
	protocolMin = 1
	protocol    = 2 // an ACK may refuse some of the connections
)

// maxRefused is how many connections of a batch may be refused without the others. More than these are no accident: the
// builds do not fit together, and then nothing moves.
const maxRefused = 8

// The errors of a move.
var (
	// errVersion: the two builds have no version in common.
	errVersion = errors.New("handoff: no common version")
	// errRoom: the other worker has too few free descriptors.
	errRoom = errors.New("handoff: too few free descriptors")
	// errRefused: the other worker has refused connections.
	errRefused = errors.New("handoff: refused")
	// errStalled: the other worker has not answered for too long.
	errStalled = errors.New("handoff: no progress")
	// errBroken: the other worker has closed the channel or died.
	errBroken = errors.New("handoff: the other worker is gone")
	// errFrame: the other worker sent a malformed or unexpected frame.
	errFrame = errors.New("handoff: bad frame")
)

// Hello is the first frame of both sides.
type Hello struct {
	protocol           uint16 // of the frames
	StateMin, StateMax uint16 // versions of connection states
	FreeFDs            uint32
	Position           uint64 // publications after this one are kept for arrivals
	Build              string
}

func (h Hello) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, protocol)
	dst = binary.LittleEndian.AppendUint16(dst, h.StateMin)
	dst = binary.LittleEndian.AppendUint16(dst, h.StateMax)
	dst = binary.LittleEndian.AppendUint32(dst, h.FreeFDs)
	dst = binary.LittleEndian.AppendUint64(dst, h.Position)
	return append(dst, h.Build...)
}

// parseHello parses a Hello. Build is its last field, so later versions cannot append others.
func parseHello(b []byte) (h Hello, err error) {
	if len(b) < 18 {
		return h, fmt.Errorf("%w: hello of %d bytes", errFrame, len(b))
	}
	v := binary.LittleEndian.Uint16(b)
	if v < protocolMin {
		return h, fmt.Errorf("%w: protocol %d", errVersion, v)
	}
	return Hello{
		protocol: v,
		StateMin: binary.LittleEndian.Uint16(b[2:]), StateMax: binary.LittleEndian.Uint16(b[4:]),
		FreeFDs: binary.LittleEndian.Uint32(b[6:]), Position: binary.LittleEndian.Uint64(b[10:]), Build: string(b[18:]),
	}, nil
}

// common returns the latest version of states that both sides know.
func common(a, b Hello) (uint16, error) {
	v := min(a.StateMax, b.StateMax)
	if v < a.StateMin || v < b.StateMin {
		return 0, fmt.Errorf("%w: states %d to %d here, %d to %d there",
			errVersion, a.StateMin, a.StateMax, b.StateMin, b.StateMax)
	}
	return v, nil
}

// appendAck encodes an ACK.
func appendAck(dst []byte, number uint32, r Refusal) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, number)
	if len(r.Places) == 0 {
		return dst
	}
	dst = append(dst, byte(len(r.Places)))
	for _, place := range r.Places {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(place))
	}
	return append(dst, r.Reason...)
}

// parseRefusal parses what follows the number in the ACK of a batch of n connections.
func parseRefusal(b []byte, n int) (r Refusal, err error) {
	if len(b) == 0 {
		return r, nil
	}
	count := int(b[0])
	if b = b[1:]; count == 0 || count > maxRefused || len(b) < 2*count {
		return r, fmt.Errorf("%w: %d refused", errFrame, count)
	}
	for i, last := 0, -1; i < count; i++ {
		place := int(binary.LittleEndian.Uint16(b[2*i:]))
		if place <= last || place >= n {
			return r, fmt.Errorf("%w: connection %d of %d refused", errFrame, place, n)
		}
		last = place
		r.Places = append(r.Places, place)
	}
	r.Reason = string(b[2*count:])
	return r, nil
}

func appendBatch(dst []byte, number uint32, frozen int64, d BatchData) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, d.Position)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(frozen))
	return append(dst, d.States...)
}

func parseBatch(b []byte, fds []int) (number uint32, frozen int64, d BatchData, err error) {
	if len(b) < 20 {
		return 0, 0, d, fmt.Errorf("%w: batch of %d bytes", errFrame, len(b))
	}
	at := binary.LittleEndian.Uint64(b[12:])
	if at > math.MaxInt64 {
		return 0, 0, d, fmt.Errorf("%w: time of a batch", errFrame)
	}
	d = BatchData{States: b[20:], FDs: fds, Position: binary.LittleEndian.Uint64(b[4:])}
	return binary.LittleEndian.Uint32(b), int64(at), d, nil
}

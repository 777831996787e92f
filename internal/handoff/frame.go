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
	kindBatch        // number (4), position (8), time of the freeze (8), states; sockets beside it
	kindAck          // number
	kindNack         // number, reason
	kindForward      // message
	kindEnd          // number of connections (8)
	kindGot
	kindRevert // reason
	kindLast
)

// protocol is the version of these frames. Later ones must speak earlier ones, too.
const protocol = 1

// Errors that callers branch on.
var (
	// errVersion says that the two builds have no version in common.
	errVersion = errors.New("handoff: no common version")
	// errRoom says that the other worker has too few free descriptors.
	errRoom = errors.New("handoff: too few free descriptors")
	// errRefused says that the other worker has refused connections.
	errRefused = errors.New("handoff: refused")
	// errStalled says that the other worker has not answered for too long.
	errStalled = errors.New("handoff: no progress")
	// errBroken says that the other worker is gone.
	errBroken = errors.New("handoff: the other worker is gone")
	// errFrame says that the other worker sent what makes no sense.
	errFrame = errors.New("handoff: bad frame")
)

// Hello is what both sides say first.
type Hello struct {
	StateMin, StateMax uint16 // versions of connection states
	FreeFDs            uint32
	Position           uint64 // publications after this one are kept for those that arrive
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

// parseHello reads a Hello. What later versions append to it would be part of Build: they must not.
func parseHello(b []byte) (h Hello, err error) {
	if len(b) < 18 {
		return h, fmt.Errorf("%w: hello of %d bytes", errFrame, len(b))
	}
	if v := binary.LittleEndian.Uint16(b); v < protocol {
		return h, fmt.Errorf("%w: protocol %d", errVersion, v)
	}
	return Hello{
		StateMin: binary.LittleEndian.Uint16(b[2:]), StateMax: binary.LittleEndian.Uint16(b[4:]),
		FreeFDs: binary.LittleEndian.Uint32(b[6:]), Position: binary.LittleEndian.Uint64(b[10:]), Build: string(b[18:]),
	}, nil
}

// common is the version of states that both sides know.
func common(a, b Hello) (uint16, error) {
	v := min(a.StateMax, b.StateMax)
	if v < a.StateMin || v < b.StateMin {
		return 0, fmt.Errorf("%w: states %d to %d here, %d to %d there",
			errVersion, a.StateMin, a.StateMax, b.StateMin, b.StateMax)
	}
	return v, nil
}

func appendBatch(dst []byte, number uint32, frozen int64, c BatchData) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, c.Position)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(frozen))
	return append(dst, c.States...)
}

func parseBatch(b []byte, fds []int) (number uint32, frozen int64, c BatchData, err error) {
	if len(b) < 20 {
		return 0, 0, c, fmt.Errorf("%w: batch of %d bytes", errFrame, len(b))
	}
	at := binary.LittleEndian.Uint64(b[12:])
	if at > math.MaxInt64 {
		return 0, 0, c, fmt.Errorf("%w: time of a batch", errFrame)
	}
	c = BatchData{States: b[20:], FDs: fds, Position: binary.LittleEndian.Uint64(b[4:])}
	return binary.LittleEndian.Uint32(b), int64(at), c, nil
}

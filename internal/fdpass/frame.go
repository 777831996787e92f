package fdpass

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	headerLen = 6
	// MaxFDs is the largest number of descriptors in a frame: what the kernel takes in one message, SCM_MAX_FD.
	MaxFDs = 253
)

// Errors that callers branch on.
var (
	// ErrFrame says that the peer sent what is no frame. The connection is of no further use.
	ErrFrame = errors.New("fdpass: bad frame")
	// ErrUnsupported says that this platform cannot pass descriptors.
	ErrUnsupported = errors.New("fdpass: not supported on this platform")
)

// Frame is what was received. Whoever reads it owns its descriptors, and must close those it has no use for.
type Frame struct {
	Kind    byte
	Payload []byte // valid until the next Read
	FDs     []int  // close-on-exec; the receiver's from here on
	// Lost is the number of descriptors that came with the frame and were dropped by the kernel, because this process
	// may hold no more.
	Lost int
}

// AppendFrame appends the bytes of a frame with a number of descriptors, at most MaxFDs, which travel beside them. The
// payload must be within the limit of the receiver.
func AppendFrame(dst []byte, kind byte, fds int, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, kind, byte(fds))
	return append(dst, payload...)
}

// parseFrame finds the first frame of b. n is its length; 0 without an error asks for more bytes, need in all.
func parseFrame(b []byte, limit int) (f Frame, fds, n, need int, err error) {
	if len(b) < headerLen {
		return f, 0, 0, headerLen, nil
	}
	length := binary.LittleEndian.Uint32(b)
	if uint64(length) > uint64(limit) {
		return f, 0, 0, 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrFrame, length, limit)
	}
	if b[5] > MaxFDs {
		return f, 0, 0, 0, fmt.Errorf("%w: %d descriptors", ErrFrame, b[5])
	}
	n = headerLen + int(length)
	if len(b) < n {
		return f, 0, 0, n, nil
	}
	return Frame{Kind: b[4], Payload: b[headerLen:n:n]}, int(b[5]), n, n, nil
}

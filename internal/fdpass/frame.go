package fdpass

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	headerLen = 6
	// MaxFDs is the largest number of descriptors in a frame, which is the kernel's limit for one message, SCM_MAX_FD.
	MaxFDs = 253
)

// Errors that callers branch on.
var (
	// ErrFrame is returned if the peer sent an invalid frame. The connection cannot be used any more.
	ErrFrame = errors.New("fdpass: bad frame")
	// ErrUnsupported is returned on platforms that cannot pass descriptors.
	ErrUnsupported = errors.New("fdpass: not supported on this platform")
)

// Frame is a frame that was received. The reader owns its descriptors and must close them.
type Frame struct {
	Kind    byte
	Payload []byte // valid until the next Read
	FDs     []int  // close-on-exec
	// Lost is the number of descriptors that the kernel has dropped because this process had too many open.
	Lost int
}

// AppendFrame appends the encoding of a frame to dst and returns the result. fds is the number of descriptors that
// will be sent with it, at most MaxFDs. The payload must not exceed the limit of the receiver.
func AppendFrame(dst []byte, kind byte, fds int, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, kind, byte(fds))
	return append(dst, payload...)
}

// parseFrame returns the first frame of b and its length n. If b is incomplete, n is 0 and need is the number of
// bytes that b must have.
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

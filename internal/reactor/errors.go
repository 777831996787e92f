package reactor

import "errors"

// Errors that callers branch on. Other errors of sockets are those of the system.
var (
	// ErrAgain means that a socket has nothing to read or no room to write at present. An event will follow when it
	// has.
	ErrAgain = errors.New("reactor: not ready")
	// ErrClosed means that the socket is closed or that the loop has ended.
	ErrClosed = errors.New("reactor: closed")
	// ErrUnsent means that a socket could not be detached because it still had bytes to send.
	ErrUnsent = errors.New("reactor: unsent bytes")
	// ErrFull means that a loop has no free index.
	ErrFull = errors.New("reactor: too many sockets")
	// errNoHalfClose means that a connection cannot close one direction only.
	errNoHalfClose = errors.New("reactor: connection has no half close")
	// errNoPoller means that descriptors cannot be used on this platform or with Options.Portable.
	errNoPoller = errors.New("reactor: no poller for file descriptors")
)

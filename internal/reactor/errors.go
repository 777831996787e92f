package reactor

import "errors"

// Errors that callers branch on. Other errors of sockets are those of the system.
var (
	// ErrAgain says that a socket has nothing to read, or no room to write, now. An event will tell when it has.
	ErrAgain = errors.New("reactor: not ready")
	// ErrClosed says that the socket is closed, or that the loop has ended.
	ErrClosed = errors.New("reactor: closed")
	// ErrUnsent says that a socket could not be detached because bytes it took were still on their way.
	ErrUnsent = errors.New("reactor: unsent bytes")
	// ErrFull says that a loop has no index left.
	ErrFull = errors.New("reactor: too many sockets")
	// errNoHalfClose says that a connection cannot end one of its sides alone.
	errNoHalfClose = errors.New("reactor: connection has no half close")
	// errNoPoller says that this platform, or Options.Portable, has no place for bare descriptors.
	errNoPoller = errors.New("reactor: no poller for file descriptors")
)

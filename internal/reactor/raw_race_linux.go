//go:build race

package reactor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// These are the calls of raw_linux.go in a form that the race detector can see: it must know what the kernel writes,
// and what happens before what.

func rawRead(fd int, p []byte) (int, unix.Errno) { return visible(unix.Read(fd, p)) }

func rawWrite(fd int, p []byte) (int, unix.Errno) { return visible(unix.Write(fd, p)) }

func rawWritev(fd int, bufs [][]byte) (int, unix.Errno) { return visible(unix.Writev(fd, bufs)) }

func visible(n int, err error) (int, unix.Errno) {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return 0, errno
	}
	return n, 0
}

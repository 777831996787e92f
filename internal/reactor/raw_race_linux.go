//go:build race

package reactor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// The calls of this file are those of raw_linux.go as the race detector can see them: it learns what the kernel writes,
// and what happens before what.

func rawRead(fd int, p []byte) (int, unix.Errno) { return visible(unix.Read(fd, p)) }

func rawWrite(fd int, p []byte) (int, unix.Errno) { return visible(unix.Write(fd, p)) }

func rawReadv(fd int, a, b []byte) (int, unix.Errno) { return visible(unix.Readv(fd, [][]byte{a, b})) }

func rawWritev(fd int, bufs [][]byte) (int, unix.Errno) { return visible(unix.Writev(fd, bufs)) }

func visible(n int, err error) (int, unix.Errno) {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return 0, errno
	}
	return n, 0
}

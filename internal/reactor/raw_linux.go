//go:build !race

package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls in this file do not inform the scheduler, because they do not block and it would only take the loop's
// processor away. MSG_DONTWAIT ensures that they do not block on descriptors of other origin either.

func rawRead(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// rawWritev accepts at most MaxBuffers buffers.
func rawWritev(fd int, bufs [][]byte) (int, unix.Errno) {
	var iov [MaxBuffers]unix.Iovec
	used := 0
	for _, b := range bufs {
		if len(b) > 0 {
			iov[used].Base = &b[0]
			iov[used].SetLen(len(b))
			used++
		}
	}
	if used == 0 {
		return 0, 0
	}
	var msg unix.Msghdr
	msg.Iov = &iov[0]
	msg.SetIovlen(used)
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return int(n), errno
}

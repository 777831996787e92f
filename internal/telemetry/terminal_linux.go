package telemetry

import (
	"os"
	"syscall"
	"unsafe"
)

// IsTerminal says whether f is a terminal: a person may be reading. Nil and closed files are none.
func IsTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		var t syscall.Termios // only terminals have it
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TCGETS, uintptr(unsafe.Pointer(&t)))
	})
	return err == nil && errno == 0
}

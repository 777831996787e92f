package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

func isTerminal(f *os.File) bool {
	raw, err := f.SyscallConn() // Fd would make the file blocking
	if err != nil {
		return false
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) { _, ioctlErr = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
	return err == nil && ioctlErr == nil
}

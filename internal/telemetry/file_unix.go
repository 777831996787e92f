//go:build unix

package telemetry

import (
	"errors"
	"os"
	"syscall"
)

// isDeleted reports whether an open file has been deleted.
func isDeleted(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// lock blocks until it holds the lock of an open file, which other processes may have open, too. Closing the file
// releases the lock. On file systems without locks it does nothing.
func lock(f *os.File) (unlock func()) {
	flock := func(how int) {
		raw, err := f.SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Control(func(fd uintptr) {
			for errors.Is(syscall.Flock(int(fd), how), syscall.EINTR) {
			}
		})
	}
	flock(syscall.LOCK_EX)
	return func() { flock(syscall.LOCK_UN) }
}

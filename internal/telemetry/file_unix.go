//go:build unix

package telemetry

import (
	"errors"
	"os"
	"syscall"
)

// isDeleted says whether an open file has no name any more.
func isDeleted(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// lock waits for the lock of an open file that other processes have open too. It ends with the file, at the latest.
// Where the file system has no locks it does nothing.
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

package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits, up to lockWait, until no other process, and no other caller in this one, holds the lock with this name.
// The lock is a file that exists only while it is held or waited for. If its holder dies, the kernel releases the lock.
func lock(name string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The previous holder may have removed the file. Then others create a new one, and the lock on the old one
		// means nothing.
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		named, err := os.Lstat(name)
		if err == nil && os.SameFile(held, named) {
			return func() {
				_ = os.Remove(name) // if it stays, the next holder uses it
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// lockWait is how long a lock is waited for, and lockPoll the time between two attempts. Its holders need it for less
// than a millisecond.
const (
	lockWait = 5 * time.Second
	lockPoll = 5 * time.Millisecond
)

// flock waits up to lockWait for the lock of a file.
func flock(f *os.File) error {
	for until := time.Now().Add(lockWait); ; time.Sleep(lockPoll) {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case time.Now().After(until):
			return fmt.Errorf("another process has locked %s for %s: end it (fuser %[1]s names it)", f.Name(), lockWait)
		}
	}
}

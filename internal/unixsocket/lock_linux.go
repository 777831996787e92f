package unixsocket

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock blocks until no other process, and no other caller in this one, holds the lock with this name. The lock is a
// file that exists only while it is held or waited for. If its holder dies, the kernel releases the lock.
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

// flock blocks until it holds the lock of a file.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

package control

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock waits until no other process, and no other caller in this one, holds the lock with this name. It is a file that
// exists only while somebody holds or wants it; the kernel lets go of it when its holder dies.
func lock(name string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The holder before us removed the file: who comes now makes a new one, and would not meet us at the old.
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		named, err := os.Lstat(name)
		if err == nil && os.SameFile(held, named) {
			return func() {
				_ = os.Remove(name) // at worst it stays, and serves the next one
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// flock waits for a file's lock.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

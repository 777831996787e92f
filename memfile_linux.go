package expedite

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile is a file that is nowhere on disk.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("expedite-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

package unixsocket

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// giveDraft gives a socket that nobody knows yet its access.
func (a Access) giveDraft(draft string) error {
	seen, err := os.Lstat(draft)
	if err != nil {
		return err
	}
	return a.give(draft, seen)
}

// bind creates a socket and listens on it, or fails with fs.ErrExist. The file appears at path with its access set and
// when it is listening already: otherwise another process could take it for that of a dead process, or connect to it
// before its mode forbids that.
func bind(path string, access Access) (net.Listener, error) {
	draft := filepath.Join(filepath.Dir(path), "."+rand.Text()[:8])
	// The kernel checks only the length of the draft, and no client could reach a longer name.
	if max(len(path), len(draft)) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, unix.ENAMETOOLONG
	}
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		// Linux creates the file with the mode of the socket itself, narrowed by the umask.
		if e := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	listener, err := config.Listen(context.Background(), "unix", draft)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // Close would remove the name of the draft
	if err := access.giveDraft(draft); err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(draft))
	}
	err = unix.Renameat2(unix.AT_FDCWD, draft, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The file system does not support the flag. A hard link fails for an existing name, too.
		if err = os.Link(draft, path); err == nil {
			err = os.Remove(draft)
		}
	}
	if err != nil {
		_ = os.Remove(draft)
		_ = listener.Close()
		if errors.Is(err, fs.ErrExist) {
			return nil, fs.ErrExist
		}
		return nil, err
	}
	return listener, nil
}

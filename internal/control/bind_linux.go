package control

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

// bind makes the socket and listens, or fails with fs.ErrExist. The file is complete when it appears: its mode is set
// before it exists, and it gets its name when it listens already, so that nobody takes it for a dead one.
func bind(path string) (net.Listener, error) {
	draft := filepath.Join(filepath.Dir(path), "."+rand.Text()[:8])
	// The kernel would take a short draft, and no client could reach the name that it gets.
	if max(len(path), len(draft)) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, unix.ENAMETOOLONG
	}
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		// Linux makes the file with the mode of the socket itself, narrowed by the umask.
		if e := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	listener, err := config.Listen(context.Background(), "unix", draft)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // it would remove the draft's name
	err = unix.Renameat2(unix.AT_FDCWD, draft, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system that cannot: a hard link refuses an existing name, too.
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

package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// claimTries bounds how often a path is tried again that changes hands meanwhile.
const claimTries = 5

// claim listens on path, after removing the socket of a dead server.
func claim(path string) (net.Listener, error) {
	if path == "" {
		return nil, errors.New("control: the socket has no path")
	}
	if strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("control: socket %s: a name without a file has no mode to protect it: name a file", path)
	}
	for range claimTries {
		listener, err := bind(path)
		if err == nil {
			return listener, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("control: socket %s: %w", path, cause(err))
		}
		if err := evict(path); err != nil {
			return nil, err
		}
	}
	return nil, inUse(path, 0)
}

// evict removes the socket at path if its server is dead. Nil says: try again. Only one process at a time does so:
// of two that find the same dead socket, the slower would remove the faster one's new one.
func evict(path string) error {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("control: cannot replace what is at %s: %w", path, err)
	}
	defer unlock()
	seen, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if !isSocket(seen) {
		return fmt.Errorf("control: %s is there and is no socket: choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		p, _ := peerOf(conn) // without it the message just names no pid
		_ = conn.Close()
		return inUse(path, p.pid)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !refused(err) {
		return fmt.Errorf("control: socket %s is in use or cannot be asked: %w", path, cause(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control: cannot replace the socket of a dead server: %w", err)
	}
	return nil
}

// inUse is the error for a path that a live server holds. Pid 0: not known.
func inUse(path string, pid int) error {
	by := "another server"
	if pid > 0 {
		by = fmt.Sprintf("pid %d", pid)
	}
	return fmt.Errorf("control: socket %s is in use by %s: choose another path", path, by)
}

// isSocket says whether a file may be what a server left. Windows shows sockets as irregular files.
func isSocket(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeSocket|fs.ModeIrregular) != 0
}

// refused says whether a connection failed because nobody listens at a socket that exists.
func refused(err error) bool {
	const windows = syscall.Errno(10061) // WSAECONNREFUSED
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, windows)
}

// cause strips what packages http and net put before the reason: the path, which our errors name themselves.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

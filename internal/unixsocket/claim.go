package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// claimTries bounds the attempts for a path that other processes take and leave meanwhile.
const claimTries = 5

// claim listens on path, after removing the socket of a dead process.
func claim(path string, access Access) (net.Listener, error) {
	if path == "" {
		return nil, errors.New("the socket has no path")
	}
	if strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("socket %s: an abstract name has no file mode to protect it: name a file", path)
	}
	for range claimTries {
		listener, err := bind(path, access)
		if err == nil {
			return listener, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("socket %s: %w", path, cause(err))
		}
		if err := evict(path); err != nil {
			return nil, err
		}
	}
	return nil, inUse(path, 0)
}

// evict removes the socket at path if its process is dead. If it returns nil, the caller tries again. The lock admits
// one process at a time: if two found the same dead socket, the slower one would remove the new socket of the faster
// one.
func evict(path string) error {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("cannot replace the file at %s: %w", path, err)
	}
	defer unlock()
	seen, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isSocket(seen) {
		return fmt.Errorf("the file %s is not a socket: choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		p, _ := PeerOf(conn) // on an error the message has no pid
		_ = conn.Close()
		return inUse(path, p.PID)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !Refused(err) {
		return fmt.Errorf("socket %s may be in use: %w", path, cause(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the socket of a dead server: %w", err)
	}
	return nil
}

// inUse returns the error for a path that a live process holds. Pid 0 is unknown.
func inUse(path string, pid int) error {
	by := "another server"
	if pid > 0 {
		by = fmt.Sprintf("pid %d", pid)
	}
	return fmt.Errorf("socket %s is in use by %s: choose another path", path, by)
}

// isSocket reports whether a file may be a socket. Windows shows sockets as irregular files.
func isSocket(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeSocket|fs.ModeIrregular) != 0
}

// Refused reports whether a connection failed because no process listens on a socket that exists.
func Refused(err error) bool {
	const windows = syscall.Errno(10061) // WSAECONNREFUSED
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, windows)
}

// cause returns the reason of an error of package net, without the path that our errors contain, too.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

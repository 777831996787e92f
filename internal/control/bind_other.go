//go:build !linux

package control

import (
	"errors"
	"net"
	"os"
)

// bind makes the socket and listens, or fails with syscall.EADDRINUSE.
func bind(path string) (net.Listener, error) {
	// On Windows net reports another number for a name that is taken.
	if _, err := os.Lstat(path); err == nil {
		return nil, os.ErrExist
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // Server.Close does it, with more care
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(path))
	}
	return listener, nil
}

//go:build !linux

package unixsocket

import (
	"errors"
	"net"
	"os"
)

// bind creates a socket and listens on it, or fails with fs.ErrExist or syscall.EADDRINUSE.
func bind(path string, access Access) (net.Listener, error) {
	// On Windows, package net reports another error for a name that exists.
	if _, err := os.Lstat(path); err == nil {
		return nil, os.ErrExist
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // Remove does it, if the file is still ours
	err = os.Chmod(path, 0o600)
	if seen, e := os.Lstat(path); err == nil && e == nil {
		err = access.give(path, seen)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(path))
	}
	return listener, nil
}

// Package unixsocket listens on a Unix socket whose file belongs to one process.
//
// The file has mode 0600, or another one that was chosen, from the moment it exists. A file that a dead process left is
// replaced; a file that a live one holds is refused. If the file is removed while the process runs, it can be restored.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
)

// Listener is a listener that can move to a new socket while it accepts. Create one with [Listen] or [Inherit]. Its
// methods are safe for concurrent use.
type Listener struct {
	path   string
	access Access

	mu     sync.Mutex
	now    net.Listener
	file   fs.FileInfo // of now: Remove must not remove another socket
	closed bool
}

// Access determines who may connect to a socket.
type Access struct {
	Mode     fs.FileMode
	UID, GID int // negative: those of this process
}

// private returns the access of a socket for processes of the same user.
func private() Access { return Access{Mode: 0o600, UID: -1, GID: -1} }

// Listen creates a socket at path, with mode 0600. It fails if a process listens there, or if the file is not a socket.
func Listen(path string) (*Listener, error) { return ListenFor(path, private()) }

// ListenFor is Listen for others than this user, too.
func ListenFor(path string, access Access) (*Listener, error) {
	now, err := claim(path, access)
	if err != nil {
		return nil, err
	}
	return newListener(path, access, now)
}

// Inherit continues to listen on a socket of which f is a copy, made by [Listener.File] before exec(2) or in a parent
// process. The caller still has to close f. If the file at path is gone, nobody can reach the socket, and Inherit
// listens on a new one.
func Inherit(path string, f *os.File) (*Listener, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return Listen(path)
	}
	now, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket of %s: %w", path, err)
	}
	return newListener(path, private(), now)
}

// InheritFor is Inherit for others than this user, too. The file gets the access that is given now.
func InheritFor(path string, access Access, f *os.File) (*Listener, error) {
	seen, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ListenFor(path, access)
	case err == nil && isSocket(seen):
		err = access.give(path, seen)
	}
	if err != nil {
		return nil, fmt.Errorf("inherited socket of %s: %w", path, err)
	}
	now, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket of %s: %w", path, err)
	}
	return newListener(path, access, now)
}

// Adopt takes over a socket that is to be closed. Unlike Inherit it does not mind if the file is gone.
func Adopt(path string, f *os.File) (*Listener, error) {
	now, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket of %s: %w", path, err)
	}
	l := &Listener{path: path, access: private(), now: now}
	if l.file, err = os.Lstat(path); err != nil {
		l.file = nil
	}
	return l, nil
}

// give gives the file of a socket the access, if it has another mode. A process that is not root may give the file to a
// group only of which it is a member.
func (a Access) give(path string, seen fs.FileInfo) error {
	if a.UID >= 0 || a.GID >= 0 {
		if err := os.Lchown(path, a.UID, a.GID); err != nil {
			return err
		}
	}
	if seen.Mode().Perm() == a.Mode {
		return nil
	}
	return os.Chmod(path, a.Mode)
}

func newListener(path string, access Access, now net.Listener) (*Listener, error) {
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, now.Close())
	}
	return &Listener{path: path, access: access, now: now, file: file}, nil
}

// Path returns the path of the socket.
func (l *Listener) Path() string { return l.path }

// Socket returns the socket that Accept accepts from now. Restore closes it if it replaces it.
func (l *Listener) Socket() net.Listener { return l.current() }

func (l *Listener) current() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Accept waits for a connection, also across Restore.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		now := l.current()
		c, err := now.Accept()
		if err == nil || l.current() == now {
			return c, err
		}
	}
}

// Addr returns the address of the current socket.
func (l *Listener) Addr() net.Addr { return l.current().Addr() }

// Close closes the socket and leaves its file. Further calls do nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.now.Close()
}

// File returns a copy of the socket for [Inherit]. The caller has to close it. Its Fd method would make the socket
// blocking, that of the Listener included; SyscallConn does not.
func (l *Listener) File() (*os.File, error) {
	now, ok := l.current().(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("socket %s cannot be copied", l.path)
	}
	f, err := now.File()
	if err != nil {
		return nil, fmt.Errorf("copy of socket %s: %w", l.path, err)
	}
	return f, nil
}

// Restore creates the socket again if its file is gone: removed by a cleaner of temporary folders, or hidden by a file
// system that was mounted over it. It fails if another process has the path.
func (l *Listener) Restore() error {
	if l.exists() {
		return nil
	}
	now, err := claim(l.path, l.access)
	if err != nil {
		return err
	}
	file, err := os.Lstat(l.path)
	if err != nil {
		return errors.Join(err, now.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = now.Close()
		return net.ErrClosed
	}
	before := l.now
	l.now, l.file = now, file
	return before.Close()
}

// Remove removes the file of the socket, unless it is that of another socket by now.
func (l *Listener) Remove() error {
	if !l.exists() {
		return nil
	}
	return os.Remove(l.path)
}

// exists reports whether the socket can be reached by its path.
func (l *Listener) exists() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := os.Lstat(l.path)
	return err == nil && l.file != nil && os.SameFile(now, l.file)
}

var _ net.Listener = (*Listener)(nil)

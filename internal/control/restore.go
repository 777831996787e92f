package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Restore makes the socket anew if its file was removed: by a cleaner of temporary folders, or because another file
// system was mounted over it. It fails if that is not possible, or if another server has the path.
func (s *Server) Restore() error {
	if s.isThere() {
		return nil
	}
	listener, err := claim(s.path)
	if err != nil {
		return err
	}
	file, err := os.Lstat(s.path)
	if err != nil {
		return errors.Join(fmt.Errorf("control: %w", err), listener.Close())
	}
	s.mu.Lock()
	s.file = file
	s.mu.Unlock()
	return s.listener.move(listener)
}

// isThere says whether the socket can be reached by its path.
func (s *Server) isThere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.file)
}

// movable is a listener that can change its socket while it accepts. Close may be called twice, as the server and
// http.Server do.
type movable struct {
	mu     sync.Mutex
	now    net.Listener
	closed bool
}

func (m *movable) current() net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// move goes on with another socket.
func (m *movable) move(to net.Listener) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = to.Close()
		return net.ErrClosed
	}
	before := m.now
	m.now = to
	return before.Close()
}

// Accept accepts from the present socket.
func (m *movable) Accept() (net.Conn, error) {
	for {
		l := m.current()
		c, err := l.Accept()
		if err == nil || m.current() == l {
			return c, err
		}
	}
}

// Addr is the address of the present socket.
func (m *movable) Addr() net.Addr { return m.current().Addr() }

// Close closes the present socket, once.
func (m *movable) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	return m.now.Close()
}

var _ net.Listener = (*movable)(nil)

package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/expedite-go/expedite/internal/unixsocket"
)

// Error is an address that cannot be served.
type Error struct {
	// Address is the address as a Spec writes it.
	Address string
	Err     error
}

// Error returns the address and the reason.
func (e *Error) Error() string { return e.Address + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Open opens the socket of an address, which is not one of systemd. A process that has it alone calls Open.
func (s Spec) Open() (net.Listener, error) {
	if s.Network == Unix {
		return s.OpenUnix()
	}
	ln, err := net.Listen(s.Network, s.Address)
	if err != nil {
		return nil, Explain(err)
	}
	return ln, nil
}

// OpenUnix creates a Unix socket. The result has a method Remove, which removes the file if it is still that of the
// socket. Close leaves it.
func (s Spec) OpenUnix() (*unixsocket.Listener, error) {
	access, err := s.access()
	if err == nil {
		var ln *unixsocket.Listener
		if ln, err = unixsocket.ListenFor(s.Address, access); err == nil {
			return ln, nil
		}
	}
	return nil, s.failed(err)
}

// InheritUnix continues to listen on a Unix socket of which f is a copy. If its file is gone, it creates the socket
// again.
func (s Spec) InheritUnix(f *os.File) (*unixsocket.Listener, error) {
	access, err := s.access()
	if err == nil {
		var ln *unixsocket.Listener
		if ln, err = unixsocket.InheritFor(s.Address, access, f); err == nil {
			return ln, nil
		}
	}
	return nil, s.failed(err)
}

// failed returns the error for an address that cannot be served, with what to do.
func (s Spec) failed(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) && (s.Owner != "" || s.Group != ""):
		err = fmt.Errorf("%w: only root may give the socket to another owner, "+
			"and others only to a group that they are in", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: this user must be able to write to the folder", err)
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: create the folder first", err)
	}
	return &Error{s.Key(), err}
}

// access returns who may connect to a Unix socket.
func (s Spec) access() (a unixsocket.Access, err error) {
	a = unixsocket.Access{Mode: s.Mode, UID: -1, GID: -1}
	if s.Owner != "" {
		if a.UID, err = number(s.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return a, err
		}
	}
	if s.Group != "" {
		if a.GID, err = number(s.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}); err != nil {
			return a, err
		}
	}
	return a, nil
}

// number returns a number, or that of a name.
func number(text string, lookup func(name string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	found, err := lookup(text)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(found)
}

// Explain adds what to do to the error of a socket that could not be opened.
func Explain(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "listen" || !errors.Is(err, syscall.EACCES) {
		return err
	}
	return fmt.Errorf("%w: ports below 1024 need the capability CAP_NET_BIND_SERVICE: "+
		"AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of systemd, or sudo setcap cap_net_bind_service=+ep on the "+
		"program, or a socket of systemd", err)
}

// AdoptUnix returns a listener for a Unix socket that is to be closed: its Remove removes the file.
func AdoptUnix(path string, f *os.File) (*unixsocket.Listener, error) {
	return unixsocket.Adopt(path, f)
}

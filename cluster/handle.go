package cluster

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// Handle is an open socket or file that can be sent with a message: a *net.TCPListener, *net.UnixListener,
// *net.TCPConn,
// *net.UnixConn, *net.UDPConn or *os.File. The receiver gets a value of the same type, for the same open socket or
// file.
type Handle interface {
	Close() error
	SyscallConn() (syscall.RawConn, error)
}

// HandleOption changes the behavior of SendHandle.
type HandleOption uint8

// KeepOpen makes SendHandle leave the sender's handle open. Without it, SendHandle closes it.
const KeepOpen HandleOption = 1

// The types of handles, as they are sent. The numbers must not change.
const (
	handleNone byte = iota
	handleTCPListener
	handleUnixListener
	handleTCPConn
	handleUnixConn
	handleUDPConn
	handleFile
)

func handleType(h any) byte {
	switch h.(type) {
	case *net.TCPListener:
		return handleTCPListener
	case *net.UnixListener:
		return handleUnixListener
	case *net.TCPConn:
		return handleTCPConn
	case *net.UnixConn:
		return handleUnixConn
	case *net.UDPConn:
		return handleUDPConn
	case *os.File:
		return handleFile
	default:
		return handleNone
	}
}

// SendHandle sends a message with a handle, in order with other messages. It never blocks, and fails as Send does; at
// most 64 handles may be queued for one worker. Unless KeepOpen is given, SendHandle closes h, even if it fails. The
// socket file of a Unix listener that was sent stays. If the worker disconnects before it has received the handle,
// EventError follows.
func (w *Worker) SendHandle(m []byte, h Handle, opts ...HandleOption) error {
	return w.link.sendWithHandle(m, h, opts)
}

// sendWithHandle sends a handle. It queues a duplicate of its descriptor.
func (l *link) sendWithHandle(m []byte, h Handle, opts []HandleOption) error {
	keep := false
	for _, o := range opts {
		keep = keep || o == KeepOpen
	}
	kind := handleType(h)
	if kind == handleNone {
		if h != nil && !keep {
			_ = h.Close()
		}
		return fmt.Errorf("%w: %T", ErrHandle, h)
	}
	fd, err := duplicate(h)
	if err == nil {
		err = l.sendHandle(kindHandle, append([]byte{kind}, m...), fd)
	}
	if keep {
		return err
	}
	if ul, ok := h.(*net.UnixListener); ok && err == nil {
		ul.SetUnlinkOnClose(false) // clients reach the receiver by that file
	}
	_ = h.Close() // what was queued is a duplicate
	return err
}

// duplicate returns a duplicate of the descriptor of h.
func duplicate(h Handle) (fd int, err error) {
	raw, err := h.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("%w: %w", ErrHandle, err)
	}
	var dupErr error
	if err := raw.Control(func(s uintptr) { fd, dupErr = dupFD(int(s)) }); err != nil {
		return -1, fmt.Errorf("%w: %w", ErrHandle, err)
	}
	if dupErr != nil {
		return -1, fmt.Errorf("cluster: %w", dupErr)
	}
	return fd, nil
}

// parseHandle returns the message and the handle of a frame. If the descriptor is missing or cannot be used, the handle
// is nil.
func parseHandle(f fdpass.Frame) (m []byte, h Handle) {
	if len(f.Payload) == 0 || len(f.FDs) != 1 {
		closeFDs(f.FDs)
		if len(f.Payload) > 0 {
			m = f.Payload[1:]
		}
		return m, nil
	}
	return f.Payload[1:], makeHandle(f.Payload[0], f.FDs[0])
}

// makeHandle makes a handle of a descriptor. If it cannot, it closes the descriptor and returns nil.
func makeHandle(kind byte, fd int) Handle {
	file := os.NewFile(uintptr(fd), "handle")
	if kind == handleFile {
		return file
	}
	defer file.Close()
	var v any
	var err error
	switch kind {
	case handleTCPListener, handleUnixListener:
		v, err = net.FileListener(file)
	default:
		v, err = net.FileConn(file)
	}
	if err != nil {
		return nil
	}
	h, ok := v.(Handle)
	if !ok || handleType(h) != kind {
		_ = v.(interface{ Close() error }).Close()
		return nil
	}
	return h
}

// Conn returns a connection for a socket that Hooks.Conns has received. It takes over the descriptor, and closes it if
// it fails.
func Conn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "conn")
	if file == nil {
		return nil, fmt.Errorf("%w: descriptor %d", ErrHandle, fd)
	}
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

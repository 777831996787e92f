package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// Handle is what can be sent beside a message: a *net.TCPListener, *net.UnixListener, *net.TCPConn, *net.UnixConn,
// *net.UDPConn or *os.File. It arrives as the same type, for the same open socket or file.
type Handle interface {
	Close() error
	SyscallConn() (syscall.RawConn, error)
}

// HandleOption changes what SendHandle does.
type HandleOption uint8

// KeepOpen leaves the sender's handle open. Without it SendHandle closes it.
const KeepOpen HandleOption = 1

// The types of handles, as they are told to the other side.
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
// most 64 handles wait on the way to one worker. Unless KeepOpen is given, h is closed when it returns, whatever the
// outcome; the file of a Unix listener that was sent stays. EventError tells of a worker that left before it had got
// the handle.
func (w *Worker) SendHandle(m []byte, h Handle, opts ...HandleOption) error {
	return w.link.pass(m, h, opts)
}

// SendHandle sends a message with a handle to the primary, as Worker.SendHandle does to a worker.
func (s *Self) SendHandle(m []byte, h Handle, opts ...HandleOption) error {
	return s.link.pass(m, h, opts)
}

// pass sends a handle. What is queued is a descriptor of its own.
func (l *link) pass(m []byte, h Handle, opts []HandleOption) error {
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
		ul.SetUnlinkOnClose(false) // others reach the receiver by that file
	}
	_ = h.Close() // the descriptor that was sent is another
	return err
}

// duplicate is a descriptor of what h is one of.
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

// parseHandle makes a handle of what came. Descriptors that it cannot use are closed; the handle is nil then.
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

// makeHandle makes a handle of a descriptor, which belongs to it then; or is closed, with nil.
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

// receiveHandle gives what a worker sent to the primary's own code.
func (p *Primary) receiveHandle(w *Worker, f fdpass.Frame) {
	m, h := parseHandle(f)
	if h == nil || p.cfg.OnHandle == nil {
		p.lost.Add(1)
	}
	switch {
	case p.cfg.OnHandle != nil:
		p.cfg.OnHandle(w, m, h)
	case h != nil:
		_ = h.Close()
	}
}

// receiveHandle gives what the primary sent to the worker's own code.
func (s *Self) receiveHandle(hooks *Hooks, f fdpass.Frame) {
	m, h := parseHandle(f)
	if h == nil || hooks.Handle == nil {
		s.lost.Add(1)
	}
	switch {
	case hooks.Handle != nil:
		hooks.Handle(m, h)
	case h != nil:
		_ = h.Close()
	}
}

// HandlesLost is the number of handles that did not arrive here, or that nobody took.
func (s *Self) HandlesLost() uint64 { return s.lost.Load() }

// Conn makes a connection of a socket that was passed to Hooks.Conns, and takes it: it is closed if that fails.
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

// Drained is closed when the worker's queue is below half of its limit: after ErrOverloaded it is time to send again.
// It is closed, too, when the worker is gone.
func (w *Worker) Drained() <-chan struct{} { return w.link.below() }

// Wait waits for Drained; ErrDisconnected says that the worker is gone.
func (w *Worker) Wait(ctx context.Context) error { return w.link.wait(ctx) }

// Drained is closed when the queue to the primary is below half of its limit, or the primary is gone.
func (s *Self) Drained() <-chan struct{} { return s.link.below() }

// Wait waits for Drained; ErrDisconnected says that the primary is gone.
func (s *Self) Wait(ctx context.Context) error { return s.link.wait(ctx) }

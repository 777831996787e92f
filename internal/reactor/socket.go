package reactor

import (
	"net"
	"net/netip"
	"unsafe"
)

// MaxBuffers is the maximum number of buffers that Socket.Writev writes in one call.
const MaxBuffers = 64

// Socket is a byte stream that never blocks. It is a value of two words; the zero Socket is not valid. One goroutine at
// a time may call Read, and one goroutine at a time Write, Writev and CloseWrite. No method may be called
// after Close, because the number of a closed descriptor may soon be reused.
type Socket struct {
	num int32          // 1 + the descriptor; 0 means none
	ptr unsafe.Pointer // *pump if there is no descriptor, *sealed if there is one with TLS, or nil
}

// pump returns the pump of s, or nil.
func (s Socket) pump() *pump {
	if s.num != 0 {
		return nil
	}
	return (*pump)(s.ptr)
}

// sealed returns the TLS of the descriptor, or nil.
func (s Socket) sealed() *sealed {
	if s.num == 0 {
		return nil
	}
	return (*sealed)(s.ptr)
}

// Valid reports whether s is not the zero Socket. A closed socket is still valid.
func (s Socket) Valid() bool { return s.num != 0 || s.ptr != nil }

// FD returns the descriptor of s, or -1 if it has none.
func (s Socket) FD() int { return int(s.num) - 1 }

// Read reads into p. A count below len(p) means that nothing more was available, or that an event follows. It returns
// io.EOF at the peer's end, and ErrAgain if there is nothing to read.
func (s Socket) Read(p []byte) (int, error) {
	if s.ptr == nil {
		return fdRead(s.FD(), p)
	}
	if t := s.sealed(); t != nil {
		return t.readTo(p)
	}
	return s.pump().readTo(p)
}

// Write writes p or a part of it. A count below len(p) means that the socket is full, and so does ErrAgain, which comes
// with a count of 0. An event follows when the socket is writable again. With TLS the last bytes may wait, sealed: see
// Push.
func (s Socket) Write(p []byte) (int, error) {
	if s.ptr == nil {
		return fdWrite(s.FD(), p)
	}
	if t := s.sealed(); t != nil {
		return t.write(p)
	}
	return s.pump().write(p)
}

// Writev writes up to MaxBuffers buffers, one after another. It ignores further ones.
func (s Socket) Writev(bufs [][]byte) (int, error) {
	bufs = bufs[:min(len(bufs), MaxBuffers)]
	if s.ptr == nil {
		return fdWritev(s.FD(), bufs)
	}
	if t := s.sealed(); t != nil {
		return t.write(bufs...)
	}
	return s.pump().writev(bufs)
}

// Push writes sealed bytes that wait, up to one record, and reports whether all of them have left. Call it when s is
// writable.
func (s Socket) Push() (done bool) {
	t := s.sealed()
	return t == nil || t.pushed()
}

// Waits reports whether sealed bytes wait for Push.
func (s Socket) Waits() bool {
	t := s.sealed()
	return t != nil && t.waits()
}

// Unacknowledged returns the number of bytes that s has taken and that the system of the peer has not acknowledged: 0
// on a Unix socket, whose peer has the same system. It is known until s is closed, even after a reset.
func (s Socket) Unacknowledged() int {
	if s.ptr == nil {
		return fdUnacknowledged(s.FD())
	}
	if t := s.sealed(); t != nil {
		return t.unacknowledged()
	}
	return s.pump().waiting()
}

// Abandon makes Close drop what was not sent, and reset a TCP connection. Not every socket can.
func (s Socket) Abandon() {
	if s.num != 0 {
		fdAbandon(s.FD())
	}
}

// CloseWrite closes the sending side after what was written. The peer may still send.
func (s Socket) CloseWrite() error {
	if s.ptr == nil {
		return fdCloseWrite(s.FD())
	}
	if t := s.sealed(); t != nil {
		return t.closeWrite()
	}
	return s.pump().closeWrite()
}

// Close closes a socket that is not on a loop. What was written is still sent, if the peer reads it.
func (s Socket) Close() error {
	if s.ptr == nil {
		return fdClose(s.FD())
	}
	if t := s.sealed(); t != nil {
		return t.close()
	}
	return s.pump().close()
}

func (p *pump) socket() Socket { return Socket{ptr: unsafe.Pointer(p)} }

func (t *sealed) socket() Socket { return Socket{num: t.fd + 1, ptr: unsafe.Pointer(t)} }

// CloseFD closes a descriptor that is not on a loop.
func CloseFD(fd int) { _ = fdClose(fd) }

// AddConn adds a connection of any kind to the loop, which owns it unless there is an error. Goroutines read and write
// it. This is how TLS connections, and all connections where there is no poller, get on a loop.
func (l *Loop) AddConn(c net.Conn) (Key, Socket, error) {
	k, err := l.admit(-1)
	if err != nil {
		return Key{}, Socket{}, err
	}
	p := newPump(l, k, c)
	l.Runnable()
	go p.read()
	return k, p.socket(), nil
}

// Detach takes k off the loop and returns its socket s as a connection, with the bytes that were read but not taken. If
// bytes that s took are not sent yet, it returns ErrUnsent. After an error s is closed.
func (l *Loop) Detach(k Key, s Socket) (conn net.Conn, rest []byte, err error) {
	if !l.keys.has(k) {
		return nil, nil, ErrClosed
	}
	_ = l.Remove(k)
	if p := s.pump(); p != nil {
		return p.detach()
	}
	conn, err = fdConn(s.FD())
	switch t := s.sealed(); {
	case t == nil:
	case err != nil:
		t.forget()
	default:
		conn = newSealedConn(conn, t)
	}
	return conn, nil, err
}

// addrPort returns the IP address and port of a, or the zero value if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

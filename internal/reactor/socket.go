package reactor

import (
	"net"
	"net/netip"
)

// MaxBuffers is the number of buffers that Socket.Writev writes in one call.
const MaxBuffers = 64

// Socket is a byte stream that never blocks. It is a value of two words; the zero Socket is not valid. Read and Readv
// are for one goroutine at a time; Write, Writev and CloseWrite likewise, and both halves may be used at the same time.
// None may be used after Close: the number of a closed descriptor is somebody else's soon.
type Socket struct {
	num  int32 // 1 + the descriptor; 0 is none
	pump *pump
}

// Valid says whether s is a socket at all. A closed one is still valid.
func (s Socket) Valid() bool { return s.num != 0 || s.pump != nil }

// FD is the descriptor of s, or -1 if it has none of its own.
func (s Socket) FD() int { return int(s.num) - 1 }

// Read reads into p. A count below len(p) means that nothing more was there. It fails with io.EOF at the peer's end,
// and with ErrAgain if there is nothing to read.
func (s Socket) Read(p []byte) (int, error) {
	if s.pump != nil {
		return s.pump.readTo(p, nil)
	}
	return fdRead(s.FD(), p)
}

// Readv is Read into a, and then into b.
func (s Socket) Readv(a, b []byte) (int, error) {
	if s.pump != nil {
		return s.pump.readTo(a, b)
	}
	return fdReadv(s.FD(), a, b)
}

// Write writes p or its beginning: a count below len(p) means that the socket is full, and so does ErrAgain, which
// comes with a count of 0. An event tells when it is writable again.
func (s Socket) Write(p []byte) (int, error) {
	if s.pump != nil {
		return s.pump.write(p)
	}
	return fdWrite(s.FD(), p)
}

// Writev is Write of up to MaxBuffers buffers, one after another; the others are left out.
func (s Socket) Writev(bufs [][]byte) (int, error) {
	if s.pump != nil {
		return s.pump.writev(bufs)
	}
	return fdWritev(s.FD(), bufs[:min(len(bufs), MaxBuffers)])
}

// CloseWrite ends this side after what was written; the other side may still send.
func (s Socket) CloseWrite() error {
	if s.pump != nil {
		return s.pump.closeWrite()
	}
	return fdCloseWrite(s.FD())
}

// Close closes a socket that is not on a loop. What was written still leaves, if the peer reads it.
func (s Socket) Close() error {
	if s.pump != nil {
		return s.pump.close()
	}
	return fdClose(s.FD())
}

// CloseFD closes a descriptor that is on no loop.
func CloseFD(fd int) { _ = fdClose(fd) }

// AddConn puts a connection of any kind on the loop, which owns it from here on unless there is an error. It is read
// and written by goroutines; that is how TLS gets onto a loop, and every socket where there is no poller.
func (l *Loop) AddConn(c net.Conn) (Key, Socket, error) {
	k, err := l.admit(-1)
	if err != nil {
		return Key{}, Socket{}, err
	}
	p := newPump(l, k, c)
	l.Runnable()
	go p.read()
	return k, Socket{pump: p}, nil
}

// Detach takes k off the loop and gives its socket s back as a connection, with the bytes that were read from it and
// not taken. It fails with ErrUnsent if bytes that s took have not left, and closes it then.
func (l *Loop) Detach(k Key, s Socket) (conn net.Conn, rest []byte, err error) {
	if !l.keys.has(k) {
		return nil, nil, ErrClosed
	}
	_ = l.Remove(k)
	if s.pump != nil {
		return s.pump.detach()
	}
	conn, err = fdConn(s.FD())
	return conn, nil, err
}

// addrPort is the IP address and port of a; the zero value if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

package reactor

import (
	"net"
	"net/netip"
)

// MaxBuffers is the maximum number of buffers that Socket.Writev writes in one call.
const MaxBuffers = 64

// Socket is a byte stream that never blocks. It is a value of two words; the zero Socket is not valid. One goroutine at
// a time may call Read, and one goroutine at a time Write, Writev and CloseWrite. No method may be called
// after Close, because the number of a closed descriptor may soon be reused.
type Socket struct {
	num  int32 // 1 + the descriptor; 0 means none
	pump *pump
}

// Valid reports whether s is not the zero Socket. A closed socket is still valid.
func (s Socket) Valid() bool { return s.num != 0 || s.pump != nil }

// FD returns the descriptor of s, or -1 if it has none.
func (s Socket) FD() int { return int(s.num) - 1 }

// Read reads into p. A count below len(p) means that nothing more was available. It returns io.EOF at the peer's end,
// and ErrAgain if there is nothing to read.
func (s Socket) Read(p []byte) (int, error) {
	if s.pump != nil {
		return s.pump.readTo(p)
	}
	return fdRead(s.FD(), p)
}

// Write writes p or a part of it. A count below len(p) means that the socket is full, and so does ErrAgain, which comes
// with a count of 0. An event follows when the socket is writable again.
func (s Socket) Write(p []byte) (int, error) {
	if s.pump != nil {
		return s.pump.write(p)
	}
	return fdWrite(s.FD(), p)
}

// Writev writes up to MaxBuffers buffers, one after another. It ignores further ones.
func (s Socket) Writev(bufs [][]byte) (int, error) {
	if s.pump != nil {
		return s.pump.writev(bufs)
	}
	return fdWritev(s.FD(), bufs[:min(len(bufs), MaxBuffers)])
}

// Unacknowledged returns the number of bytes that s has taken and that the system of the peer has not acknowledged: 0
// on a Unix socket, whose peer has the same system. It is known until s is closed, even after a reset.
func (s Socket) Unacknowledged() int {
	if s.pump != nil {
		return s.pump.waiting()
	}
	return fdUnacknowledged(s.FD())
}

// Abandon makes Close drop what was not sent, and reset a TCP connection. Not every socket can.
func (s Socket) Abandon() {
	if s.pump == nil {
		fdAbandon(s.FD())
	}
}

// CloseWrite closes the sending side after what was written. The peer may still send.
func (s Socket) CloseWrite() error {
	if s.pump != nil {
		return s.pump.closeWrite()
	}
	return fdCloseWrite(s.FD())
}

// Close closes a socket that is not on a loop. What was written is still sent, if the peer reads it.
func (s Socket) Close() error {
	if s.pump != nil {
		return s.pump.close()
	}
	return fdClose(s.FD())
}

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
	return k, Socket{pump: p}, nil
}

// Detach takes k off the loop and returns its socket s as a connection, with the bytes that were read but not taken. If
// bytes that s took are not sent yet, it closes s and returns ErrUnsent.
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

// addrPort returns the IP address and port of a, or the zero value if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

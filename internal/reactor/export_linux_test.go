package reactor

import (
	"net"
	"unsafe"
)

// AddSecured adds a connection whose handshake is over, as Wrap and Secure do.
func AddSecured(l *Loop, h *Secured) (Key, Socket, error) {
	fd, err := takeFD(h.Conn)
	if err != nil {
		return Key{}, Socket{}, err
	}
	k, _, err := l.Attach(fd)
	if err != nil {
		return Key{}, Socket{}, err
	}
	return k, l.seal(k, fd, h.sealed()), nil
}

// CheckSealed parses the state of a socket with TLS.
func CheckSealed(b []byte) error {
	_, err := parseSealed(b)
	return err
}

// SuspendAgain parses the state of a socket with TLS, and returns that of the socket it makes.
func SuspendAgain(b []byte) ([]byte, error) {
	t, err := parseSealed(b)
	if err != nil {
		return nil, err
	}
	return Socket{num: 1, ptr: unsafe.Pointer(t)}.Suspend(), nil
}

// Round makes a round of the sockets with ciphers pass.
func Round(l *Loop) {
	l.warmth.begin()
	for l.warmth.at < len(l.warmth.round) {
		l.warmth.look()
	}
}

// Resting reports which ciphers of a socket with TLS were dropped, and whether it remembers what it has sent.
func Resting(s Socket) (in, out, remembers bool) {
	t := s.sealed()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.in.Rests(), t.out.Rests(), t.leaves != nil
}

// Ciphers returns how many sockets are on the list of those with ciphers.
func Ciphers(l *Loop) int { return len(l.warmth.fresh) + len(l.warmth.round) }

// BelowTLS is Unacknowledged for the socket below the TLS of c.
func BelowTLS(c net.Conn) int { return connUnacknowledged(c.(*sealedConn).raw) }

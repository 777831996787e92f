package reactor

import "unsafe"

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
	return k, l.seal(k, fd, &sealed{in: *h.Reader, out: *h.Writer, part: h.Ahead, about: h.State}), nil
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

package reactor

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

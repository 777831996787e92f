package main

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// wire is the client's end of a connection, plain or with TLS. With TLS, crypto/tls does the handshake, and then the
// records are read and written here: so that a client costs little, and that no server waits for it.
type wire struct {
	fd   int
	in   *tlsrecord.Reader // nil: plain
	out  *tlsrecord.Writer
	part []byte // the beginning of a record
}

// read reads what is there into buf, and returns the content. With TLS that may be nothing, without an error.
func (w *wire) read(buf []byte) ([]byte, error) {
	had := copy(buf, w.part)
	n, err := unix.Read(w.fd, buf[had:])
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, io.EOF
	case w.in == nil:
		return buf[:n], nil
	}
	b, plain := buf[:had+n], buf[:0]
	for {
		size, err := tlsrecord.Length(b)
		if err != nil {
			return nil, err
		}
		if size == 0 || len(b) < size {
			w.part = append(w.part[:0], b...)
			return plain, nil
		}
		content, kind, err := w.in.Open(b[tlsrecord.HeaderSize:tlsrecord.HeaderSize], b[:size])
		switch {
		case err != nil:
			return nil, err
		case kind == tlsrecord.Closed:
			return plain, io.EOF
		}
		plain = append(plain, content...) // which was behind it
		b = b[size:]
	}
}

// write writes all of b. scratch has room for its records.
func (w *wire) write(b, scratch []byte) error {
	if w.in != nil {
		var err error
		if b, _, err = w.out.Append(scratch[:0], [][]byte{b}, len(b)); err != nil {
			return err
		}
	}
	if n, err := unix.Write(w.fd, b); err != nil || n != len(b) {
		return fmt.Errorf("wrote %d of %d: %w", n, len(b), err)
	}
	return nil
}

func (w *wire) close() { _ = unix.Close(w.fd) }

// dialWire is dialFrom for a connection that may use TLS.
func dialWire(source netip.Addr, addr netip.AddrPort, path string, secured bool) (w wire, err error) {
	if !secured {
		w.fd, err = dialFrom(source, addr, path)
		return w, err
	}
	if w.fd, err = connect(source, addr); err != nil {
		return w, err
	}
	if err = w.secure(); err == nil {
		_, err = upgrade(&w, addr, path)
	}
	if err == nil {
		err = unix.SetNonblock(w.fd, true)
	}
	if err != nil {
		w.close()
	}
	return w, err
}

// secure does the handshake of TLS. Afterwards the descriptor is another one, which blocks.
func (w *wire) secure() error {
	f := os.NewFile(uintptr(w.fd), "")
	raw, err := net.FileConn(f)
	_ = f.Close()
	w.fd = -1
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.(*net.TCPConn).SetKeepAlive(false); err != nil { // many probes at once get lost
		return err
	}
	var secrets keyLines
	// Without a cache of sessions there are no tickets, so that no record follows the handshake.
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &secrets})
	if err := c.Handshake(); err != nil {
		return err
	}
	suite := c.ConnectionState().CipherSuite
	in, errIn := tlsrecord.NewReader(suite, secrets.of("SERVER_TRAFFIC_SECRET_0"))
	out, errOut := tlsrecord.NewWriter(suite, secrets.of("CLIENT_TRAFFIC_SECRET_0"), 0)
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	w.in, w.out = in, out
	if w.fd, err = duplicate(raw.(syscall.Conn)); err != nil {
		return err
	}
	return unix.SetNonblock(w.fd, false)
}

// duplicate returns another descriptor of a connection.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, failed)
}

// keyLines are the lines of a key log.
type keyLines struct{ bytes.Buffer }

// of returns a secret, or nil.
func (l *keyLines) of(label string) []byte {
	for line := range bytes.Lines(l.Bytes()) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == label {
			secret, _ := hex.DecodeString(string(f[2]))
			return secret
		}
	}
	return nil
}

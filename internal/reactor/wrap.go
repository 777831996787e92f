package reactor

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// Handshaker is a connection that begins with a handshake, after which the loop may read and write its records alone.
type Handshaker interface {
	net.Conn
	// Handshake blocks until the handshake is over. It returns nil if the connection reads and writes the records
	// itself.
	Handshake() (*Secured, error)
	// Abandon ends Handshake, which may wait for others, and closes the connection. It does not block.
	Abandon()
}

// Secured is a connection whose handshake is over.
type Secured struct {
	// Conn is the connection below TLS: what Wrap has given, or a TCP or a Unix socket.
	Conn net.Conn
	// Ahead was read of Conn, and not used: it begins with a record, or a part of one.
	Ahead  []byte
	Reader *tlsrecord.Reader
	Writer *tlsrecord.Writer
	// State is what the handshake has agreed on.
	State *tls.ConnectionState
}

// Wrap makes a pump of the socket s of k, which reads from what wrap returns: a connection over the one that it gets,
// of which ahead was read, such as the server's end of TLS. A Handshaker first does its handshake; after that, at the
// event Handshaken, the handler calls Secure. k keeps its deadline, and Readable follows when there is something to
// read. If there is an error, k is no longer on the loop, and s is closed. Nothing may wait in s to be sent.
func (l *Loop) Wrap(
	k Key, s Socket, ahead []byte, wrap func(conn net.Conn, ahead []byte) net.Conn,
) (Socket, error) {
	if !l.keys.has(k) {
		return Socket{}, ErrClosed
	}
	conn, rest, err := l.lift(k, s)
	if err != nil {
		_ = l.Remove(k)
		return Socket{}, err
	}
	p := newPump(l, k, wrap(conn, append(ahead, rest...)))
	_, shakes := p.conn.(Handshaker)
	p.shaking.Store(shakes)
	if p.shake, _ = conn.(*shakeConn); p.shake != nil {
		l.shaking[k.Index] = p.shake
		if !shakes {
			err = l.settle(k, p.shake)
		}
	}
	if err != nil {
		_ = l.Remove(k)
		_ = conn.Close()
		return Socket{}, err
	}
	l.Runnable()
	l.shakers.run(p)
	return p.socket(), nil
}

// lift returns a connection over the socket of k, which stays on the loop.
func (l *Loop) lift(k Key, s Socket) (conn net.Conn, rest []byte, err error) {
	if p := s.pump(); p != nil {
		return p.detach()
	}
	return newShakeConn(s.FD()), nil, nil
}

// settle ends the handshake of k, whose connection is one of the standard library from now on.
func (l *Loop) settle(k Key, c *shakeConn) error {
	delete(l.shaking, k.Index)
	slot := &l.keys.slots[k.Index]
	fd := int(slot.ref)
	slot.ref = -1
	err := l.poller.remove(fd)
	return errors.Join(err, c.settle())
}

// shakeOf returns the connection over the socket of k during its handshake, or nil.
func (l *Loop) shakeOf(k Key) *shakeConn {
	if len(l.shaking) == 0 || !l.keys.has(k) {
		return nil
	}
	return l.shaking[k.Index]
}

// Secure returns the socket that replaces s after the event Handshaken: a descriptor, whose records the loop reads and
// writes, or s itself, if the connection does that. If there is an error, k is no longer on the loop, and s is closed.
func (l *Loop) Secure(k Key, s Socket) (Socket, error) {
	if !l.keys.has(k) {
		return Socket{}, ErrClosed
	}
	p := s.pump()
	p.shaking.Store(false)
	var fd int
	var err error
	switch {
	case p.secured != nil && p.shake != nil:
		delete(l.shaking, k.Index)
		var ev Events
		if fd, ev = p.shake.take(); ev != 0 {
			l.Again(k, ev)
		}
	case p.secured != nil:
		fd, err = l.ground(k, p.secured.Conn)
	case p.shake != nil:
		err = l.settle(k, p.shake)
	}
	if err != nil {
		_ = l.Remove(k)
		_ = s.Close()
		return Socket{}, err
	}
	if p.secured == nil {
		return s, nil
	}
	return l.seal(k, fd, p.secured.sealed()), nil
}

// ground puts the descriptor of a connection in the poller, for k.
func (l *Loop) ground(k Key, conn net.Conn) (fd int, err error) {
	if fd, err = takeFD(conn); err != nil {
		return -1, err
	}
	l.keys.slots[k.Index].ref = int32(fd)
	if err = l.poller.add(fd, k); err != nil {
		l.keys.slots[k.Index].ref = -1
		_ = fdClose(fd)
	}
	return fd, err
}

// sealed returns the TLS of a descriptor. It takes the secrets.
func (h *Secured) sealed() *sealed {
	t := &sealed{in: *h.Reader, out: *h.Writer, arrives: &arriving{part: h.Ahead, about: h.State}}
	h.erase()
	t.arrived()
	return t
}

// erase overwrites the secrets.
func (h *Secured) erase() {
	h.Reader.Erase()
	h.Writer.Erase()
}

// seal makes t the TLS of a descriptor on the loop.
func (l *Loop) seal(k Key, fd int, t *sealed) Socket {
	if t.loop == nil {
		l.count.parts.Add(int64(len(t.part()) + len(t.plain())))
		l.count.rests.Add(int64(len(t.rest())))
	}
	t.loop, t.key, t.fd, t.off = l, k, int32(fd), nil
	if len(t.part())+len(t.plain()) > 0 || t.end() != nil {
		l.Again(k, Readable) // the poller knows nothing of it
	}
	if !t.in.Rests() || !t.out.Rests() {
		t.mu.Lock()
		defer t.mu.Unlock()
		l.warmth.enlist(t)
	}
	return t.socket()
}

// Shakes reports whether the handshake of a Handshaker is not over, or Secure was not called since then.
func (s Socket) Shakes() bool {
	p := s.pump()
	return p != nil && p.shaking.Load()
}

// Waited returns how long the handshake of s has waited for others, if its connection has a method Waited that tells.
// It is 0 after Secure.
func (s Socket) Waited() time.Duration {
	if s.Shakes() {
		if w, ok := s.pump().conn.(interface{ Waited() time.Duration }); ok { // safe for concurrent use
			return w.Waited()
		}
	}
	return 0
}

// Holds reports whether s holds the beginning of a record that has not arrived as a whole, or what nobody has read of
// one that has.
func (s Socket) Holds() bool {
	t := s.sealed()
	return t != nil && len(t.part())+len(t.plain()) > 0
}

// TakeTLS is TLS for a caller that is the last to ask: s keeps nothing of the handshake, which takes some hundred bytes
// and more with certificates.
func (s Socket) TakeTLS() *tls.ConnectionState {
	state := s.TLS()
	if t := s.sealed(); t != nil && t.arrives != nil {
		t.arrives.about = nil
		t.arrived()
	}
	return state
}

// TLS returns what the handshake of s has agreed on, or nil if there was none. It is forgotten when s moves.
func (s Socket) TLS() *tls.ConnectionState {
	var conn any
	switch t, p := s.sealed(), s.pump(); {
	case t != nil:
		return t.about()
	case p != nil:
		conn = p.conn
	}
	if c, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}

package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// talker is a Handshaker with a handshake of its own.
type talker struct {
	net.Conn
	talk func(net.Conn) (*reactor.Secured, error)
}

func (h *talker) Handshake() (*reactor.Secured, error) { return h.talk(h.Conn) }
func (h *talker) Abandon()                             { _ = h.Conn.Close() }

// wrapped is a socket of a running loop during its handshake, and afterwards.
type wrapped struct {
	rig    *rig
	end    *end
	events chan reactor.Events // of the socket after Secure
}

// wrap begins a handshake on a running loop, whose handler calls Secure.
func wrap(t *testing.T, talk func(net.Conn) (*reactor.Secured, error)) *wrapped {
	t.Helper()
	w := &wrapped{events: make(chan reactor.Events, 1000)}
	handler := &script{ready: func(k reactor.Key, ev reactor.Events) {
		e := w.rig.find(k)
		if e == nil {
			return
		}
		if ev&reactor.Handshaken != 0 {
			var err error
			if e.sock, err = w.rig.loop.Secure(k, e.sock); err != nil {
				t.Error(err)
			}
		}
		w.events <- ev
	}}
	w.rig = newRig(t, kind{opt: reactor.Options{Tick: time.Millisecond}, add: func(l *reactor.Loop, c *net.TCPConn) (
		k reactor.Key, s reactor.Socket, err error,
	) {
		if k, s, _, err = l.AddFD(descriptor(t, c)); err == nil {
			s, err = l.Wrap(k, s, nil, func(conn net.Conn, _ []byte) net.Conn { return &talker{conn, talk} })
		}
		return k, s, err
	}}, handler)
	w.rig.start()
	w.end = w.rig.connect()
	return w
}

// descriptor returns a descriptor of its own for a connection, which it closes.
func descriptor(t *testing.T, c *net.TCPConn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(old uintptr) { fd, err = unix.Dup(int(old)) })
	}
	if err := errors.Join(err, c.Close()); err != nil {
		t.Error(err) // perhaps on the loop
	}
	return fd
}

// receive reads n bytes of the socket, as its events come.
func (w *wrapped) receive(n int) (got []byte, err error) {
	for len(got) < n && err == nil {
		await(w.rig.t, w.events, "an event")
		w.rig.do(func() {
			buf := make([]byte, 64<<10)
			for m := 0; err == nil; {
				m, err = w.end.sock.Read(buf)
				got = append(got, buf[:m]...)
			}
		})
		if errors.Is(err, reactor.ErrAgain) {
			err = nil
		}
	}
	return got, err
}

// TestShakeWaits: a handshake reads what comes late, and writes more than the socket takes at once, while its socket stays
// on the loop. After it, the socket is one of the standard library.
func TestShakeWaits(t *testing.T) {
	long := pattern(4 << 20)
	w := wrap(t, func(c net.Conn) (*reactor.Secured, error) {
		buf := make([]byte, 3)
		for range 3 {
			if _, err := io.ReadFull(c, buf); err != nil {
				return nil, err
			}
			if _, err := c.Write(append(buf, '!')); err != nil {
				return nil, err
			}
		}
		_, err := c.Write(long)
		return nil, err
	})
	client := w.end.client
	for range 3 {
		buf := make([]byte, 4)
		for _, b := range []byte("abc") {
			if _, err := client.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(client, buf); err != nil || string(buf) != "abc!" {
			t.Fatalf("got %q, %v", buf, err)
		}
	}
	got := make([]byte, len(long))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, long) {
		t.Fatalf("the long answer: %v", err)
	}
	if _, err := client.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	if b, err := w.receive(5); err != nil || string(b) != "after" {
		t.Errorf("after the handshake: %q, %v", b, err)
	}
	w.rig.do(func() { _, _ = w.end.sock.Write([]byte("answer")) })
	if _, err := io.ReadFull(client, got[:6]); err != nil || string(got[:6]) != "answer" {
		t.Errorf("the client got %q, %v", got[:6], err)
	}
}

// TestShakeEnds: a goroutine that waits for the client ends when its socket is closed, or when the client leaves.
func TestShakeEnds(t *testing.T) {
	for _, byClient := range []bool{false, true} {
		began, ended := make(chan struct{}), make(chan error, 1)
		w := wrap(t, func(c net.Conn) (*reactor.Secured, error) {
			close(began)
			_, err := c.Read(make([]byte, 1))
			ended <- err
			return nil, err
		})
		await(t, began, "the handshake")
		want := net.ErrClosed
		if byClient {
			want = io.EOF
			_ = w.end.client.Close()
		} else {
			w.rig.do(func() { w.rig.loop.Close(w.end.key, w.end.sock) })
		}
		if err := await(t, ended, "the end of the handshake"); !errors.Is(err, want) {
			t.Errorf("by the client: %v: got %v, want %v", byClient, err, want)
		}
	}
}

// TestShakeTold: what has come during the handshake, and the end of the stream, are told after it.
func TestShakeTold(t *testing.T) {
	client, secured := tlsPair(t, 0)
	if _, err := client.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil { // close_notify, and nothing after it
		t.Fatal(err)
	}
	if err := client.raw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []byte
	var end error
	var s reactor.Socket
	handler := &script{}
	l, err := reactor.New(handler, reactor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	handler.ready = func(k reactor.Key, ev reactor.Events) {
		if ev&reactor.Handshaken != 0 {
			if s, end = l.Secure(k, s); end != nil {
				l.Stop()
			}
			return
		}
		if s.Shakes() {
			return
		}
		buf := make([]byte, 100)
		n, err := s.Read(buf)
		if got = append(got, buf[:n]...); err != nil && !errors.Is(err, reactor.ErrAgain) {
			end = err
			l.Stop()
		}
	}
	k, s0, _, err := l.AddFD(descriptor(t, secured.Conn.(*net.TCPConn)))
	if err != nil {
		t.Fatal(err)
	}
	s, err = l.Wrap(k, s0, nil, func(conn net.Conn, _ []byte) net.Conn {
		return &talker{conn, func(c net.Conn) (*reactor.Secured, error) {
			secured.Conn = c
			return secured, nil
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, l.Stop)
	defer watchdog.Stop()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if string(got) != "early" || !errors.Is(end, io.EOF) {
		t.Errorf("got %q, %v, want %q and the end", got, end, "early")
	}
	l.Close(k, s)
}

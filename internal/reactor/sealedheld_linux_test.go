package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// TestHeldBytes: what a socket holds of records is counted, and takes about that much memory, also if a client ends a
// record of full length and begins the next one.
func TestHeldBytes(t *testing.T) {
	f, l, k, s := forge(t)
	counts := func(step string, want int64) {
		t.Helper()
		if arriving, _ := l.Sealed(); arriving != want || s.Holds() != (want > 0) {
			t.Errorf("%s: %d bytes are counted, want %d", step, arriving, want)
		}
		if n := reactor.SealedMemory(s); n > 2*int(want)+512 {
			t.Errorf("%s: they take %d bytes of memory", step, n)
		}
	}
	long := f.seal(dataType, string(make([]byte, 16<<10)))
	next := f.seal(dataType, string(make([]byte, 16<<10)))
	buf := make([]byte, 64<<10)
	f.send(s, long[:len(long)-1])
	if _, err := s.Read(buf); !errors.Is(err, reactor.ErrAgain) {
		t.Fatal(err)
	}
	counts("a record without its last byte", int64(len(long)-1))
	f.send(s, append(long[len(long)-1:], next[0]))
	if n, err := s.Read(buf); n != 16<<10 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	counts("the first byte of the next one", 1)
	f.send(s, next[1:])
	for got := 0; got < 16<<10; {
		n, err := s.Read(buf[:4<<10])
		if err != nil && !errors.Is(err, reactor.ErrAgain) {
			t.Fatal(err)
		}
		if got += n; n > 0 {
			counts("a record of which something is read", int64(16<<10-got))
		}
	}
	conn, _, err := l.Detach(k, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.raw.Write(f.seal(dataType, "xyz")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buf[:1]); err != nil {
		t.Fatal(err)
	}
	if n, _ := reactor.Held(conn); n != 2 {
		t.Errorf("a connection that is not on the loop: %d bytes, want 2", n)
	}
	_ = conn.Close()
	counts("a closed connection", 0)
}

// TestHeldBytesToSend: a connection that is not on the loop tells what waits for its client.
func TestHeldBytesToSend(t *testing.T) {
	f, l, k, s := forge(t)
	defer f.raw.Close()
	conn, _, err := l.Detach(k, s)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		if err = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err == nil {
			_, err = conn.Write(make([]byte, 1<<20))
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_, held := reactor.Held(conn)
	if _, all := l.Sealed(); held != all || held == 0 {
		t.Errorf("%d bytes of %d that wait", held, all)
	}
	_ = conn.Close()
	if _, all := l.Sealed(); all != 0 {
		t.Errorf("%d bytes wait for a closed connection", all)
	}
}

// TestLostSockets: a socket that does not get back on the loop, or off it, leaves neither secrets nor bytes that count.
func TestLostSockets(t *testing.T) {
	for name, lose := range map[string]func(*reactor.Loop, reactor.Key, reactor.Socket) error{
		"Return": func(l *reactor.Loop, k reactor.Key, s reactor.Socket) error {
			_ = l.Remove(k)
			_, _, err := l.Return(s)
			return err
		},
		"Detach": func(l *reactor.Loop, k reactor.Key, s reactor.Socket) error {
			_, _, err := l.Detach(k, s)
			return err
		},
	} {
		f, l, k, s := forge(t)
		f.send(s, f.seal(dataType, "hello")[:10])
		if _, err := s.Read(make([]byte, 100)); !errors.Is(err, reactor.ErrAgain) || !s.Holds() {
			t.Fatal(err)
		}
		if !bytes.Contains(s.Suspend(), f.secret) {
			t.Fatal("the state has no secret")
		}
		file, err := os.Create(t.TempDir() + "/file") // neither a poller nor a connection takes it
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(file.Fd()), s.FD(), unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		if err := lose(l, k, s); err == nil {
			t.Fatalf("%s: no error", name)
		}
		if bytes.Contains(s.Suspend(), f.secret) {
			t.Errorf("%s: the secret is left", name)
		}
		if arriving, leaving := l.Sealed(); arriving != 0 || leaving != 0 {
			t.Errorf("%s: a lost socket counts %d and %d bytes", name, arriving, leaving)
		}
	}
}

// TestBrokenConnectionsMove: a connection that moves between the last data of its peer and the violation of TLS behind
// it is over in the other process, too. It does not wait there for bytes that cannot be opened.
func TestBrokenConnectionsMove(t *testing.T) {
	f, l, k, s := forge(t)
	both := append(f.seal(dataType, "x"), f.seal(dataType, "y")...)
	both[len(both)-1] ^= 1
	f.send(s, both)
	buf := make([]byte, 100)
	if n, err := s.Read(buf); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	state := s.Suspend()
	fd, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(k); err != nil {
		t.Fatal(err)
	}
	_ = s.Drop()
	_, s, err = l.Resume(fd, state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(buf); err == nil || errors.Is(err, io.EOF) || errors.Is(err, reactor.ErrAgain) {
		t.Errorf("got %v, want an error, and no orderly end", err)
	}
	_ = s.Close()
}

// lateShaker completes its handshake when it is abandoned.
type lateShaker struct {
	net.Conn
	gone, closed chan struct{}
	secured      *reactor.Secured
}

func (h *lateShaker) Handshake() (*reactor.Secured, error) {
	<-h.gone
	return h.secured, nil
}

func (h *lateShaker) Abandon() { close(h.gone) }

func (h *lateShaker) Close() error {
	close(h.closed)
	return h.Conn.Close()
}

// TestSecretsOfTheAbandoned: a handshake that is complete when its socket was closed leaves no secrets.
func TestSecretsOfTheAbandoned(t *testing.T) {
	_, secured := tlsPair(t, 0)
	state := secured.Reader.AppendState(nil)
	_, server := tcpPair(t)
	l, err := reactor.New(new(script), reactor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, s, err := l.AddConn(server)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	s, err = l.Wrap(k, s, nil, func(conn net.Conn, _ []byte) net.Conn {
		return &lateShaker{conn, make(chan struct{}), closed, secured}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Close(k, s)
	await(t, closed, "the end of the connection")
	if bytes.Equal(secured.Reader.AppendState(nil), state) {
		t.Error("the secrets are left")
	}
}
